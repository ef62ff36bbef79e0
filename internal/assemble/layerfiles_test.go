package assemble

import (
	"slices"
	"strings"
	"testing"
)

// ownLayers returns the files of each of the image's own layers: mode, owner and path.
func ownLayers(t *testing.T, r *Result) [][]string {
	t.Helper()
	var all [][]string
	for i, l := range r.Image.Layers() {
		if r.Layers[i].Kind == KindBase {
			continue
		}
		var files []string
		for line := range strings.Lines(listing(t, l)) {
			words := strings.Fields(line)
			words[2] = strings.TrimSuffix(strings.TrimPrefix(words[2], "./"), "/")
			files = append(files, strings.Join(words[:3], " "))
		}
		all = append(all, files)
	}
	return all
}

// TestLayerFiles: what layers make, on what is below and of their own.
func TestLayerFiles(t *testing.T) {
	dir := makeFiles(t, map[string]string{"own/etc/motd": "hello", "own/lib": "-> usr/lib", "own/usr/lib/x": "x", "f": "f"})
	makeBase(t, dir, `{name: base, copyToRoot: [{content: "root:x:0:0::/:/bin/sh\nold:x:5:6::/:\n", target: /usr/etc/passwd}],
		symlinks: {/etc: usr/etc, /srv: var/srv}, directories: [{path: /var/srv/old, mode: 0711, owner: '5:6'}], presets: [tmp]}`)
	for _, c := range []struct{ name, spec, want string }{
		{"a directory through the base's links", `fromImage: base.tar, directories: [/srv/new/deep, {path: /srv/old, mode: 0700}]`,
			"0755 0:0 var/srv/new|0755 0:0 var/srv/new/deep|0700 5:6 var/srv/old"},
		{"a directory that is there as it is", `fromImage: base.tar, directories: [{path: /srv/old, mode: 0711, owner: "old"}, /tmp]`, "nothing"},
		{"the root", `directories: [{path: /, mode: 0700, owner: 3}]`, "0700 3:3 "},
		{"a directory of a copy", `copyToRoot: own, keepContentsDirlinks: true, directories: [{path: /etc, owner: 4}, /lib, {path: /lib/y, mode: 01777}]`,
			"0755 4:4 etc|0644 0:0 etc/motd|0777 0:0 lib|0755 0:0 usr|0755 0:0 usr/lib|0644 0:0 usr/lib/x|1777 0:0 usr/lib/y"},
		{"a directory below one of the list", `directories: [{path: /a, mode: 0700}, {path: /a/b, owner: 1}, {path: /a/b/c/d, mode: 0711}]`,
			"0700 0:0 a|0755 1:1 a/b|0755 0:0 a/b/c|0711 0:0 a/b/c/d"},
		{"lists through the base's links", `fromImage: base.tar, users: [{name: app, createHome: false}], directories: [{path: /srv/old, owner: app:old}], groups: [{name: old, gid: 9}]`,
			"0644 0:0 usr/etc/group|0644 0:0 usr/etc/passwd|0711 1000:9 var/srv/old"},
		{"a home that is there", `fromImage: base.tar, users: [{name: a, uid: 7, home: /srv/old}, {name: b, uid: 8, home: /srv/mine}, {name: old, createHome: true}]`,
			"0644 0:0 usr/etc/group|0644 0:0 usr/etc/passwd|0755 8:8 var/srv/mine"},
		{"a home that holds a copy", `copyToRoot: [{source: f, target: /home/app/x/, owner: "app:5"}], users: app`,
			"0755 0:0 etc|0644 0:0 etc/group|0644 0:0 etc/passwd|0755 0:0 home|0755 1000:1000 home/app|0755 0:0 home/app/x|0644 1000:5 home/app/x/f"},
		{"a list that is copied", `copyToRoot: [{content: "z:x:77:78:::", target: /etc/passwd}, {source: f, target: /f, owner: z}], directories: [{path: /d, owner: "5:root"}]`,
			"0755 5:0 d|0755 0:0 etc|0644 0:0 etc/passwd|0644 77:78 f"},
		{"a list of a preset", `presets: [{nss: {extraPasswdLines: ["app:x:5:6:::"]}}], copyToRoot: [{source: f, target: /f, owner: app}], perms: [{path: /f, mode: 0600}]`,
			"0755 0:0 etc|0644 0:0 etc/group|0644 0:0 etc/nsswitch.conf|0644 0:0 etc/passwd|0600 5:6 f|0755 0:0 var|0555 0:0 var/empty"},
		{"explicit layers", `fromImage: base.tar, layers: [{users: [{name: app, uid: 7}]}, {directories: [{path: /home/app, mode: 0700}], copyToRoot: [{source: f, target: /f, owner: app}]}],
			remove: /f, perms: [{path: /home/app, owner: "0:app"}]`,
			"0755 0:0 home|0755 7:7 home/app|0644 0:0 usr/etc/group|0644 0:0 usr/etc/passwd / 0644 7:7 f|0700 7:7 home/app / 0000 0:0 .wh.f|0700 0:7 home/app"},
		{"a layer of rules alone", `fromImage: base.tar, layers: [{perms: [{path: "/{tmp,var/**}", owner: old}, {path: /srv/old, mode: 0755}]}]`,
			"1777 5:6 tmp|0755 5:6 var|0755 5:6 var/srv|0755 5:6 var/srv/old"},
		{"everything in one layer", `layering: single, copyToRoot: [{source: f, target: /f, owner: app}], users: app, symlinks: {/l: f}, fromImage: base.tar, remove: /tmp`,
			"0000 0:0 .wh.tmp|0644 1000:1000 f|0755 1000:1000 home/app|0777 0:0 l|0644 0:0 usr/etc/group|0644 0:0 usr/etc/passwd"},
		{"conflicts", `copyToRoot: [{content: a, target: /a}], symlinks: {/a: b}`, "error: conflicts: "},
		{"conflicts that the last wins", `copyToRoot: [{content: a, target: /a}], symlinks: {/a: b}, conflicts: last`, "0777 0:0 a"},
		{"a link on a directory", `fromImage: base.tar, symlinks: {/var: b}`, "error: conflicts: add to the base:\n" + `"var" from "symlinks" is a symlink, and the base has a directory there`},
		{"a link below a link", `symlinks: {/a: b, /a/c: d}`, `error: symlinks: entry "a/c" lies below the symlink "a"`},
		{"a home on a file", `users: [{name: app, home: /f/app}], copyToRoot: [f]`, `error: users[0].home: "f" on the way is a regular file`},
		{"a home that would remove something", `copyToRoot: [{content: "z:x:1:1::/srv/.wh.old:\n", target: /etc/passwd}], users: [{name: z, createHome: true}]`,
			`error: users[0].home: "srv/.wh.old": a name that begins with .wh. removes another one in a layer`},
		{"a list that is none", `users: [app], directories: [/etc/passwd/]`, `error: directories[0]: the image has a regular file at "/etc/passwd"`},
		{"a removed store", `contents: [/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app-1.0], layers: [{copyToRoot: [{source: f, target: /nix/f}]}], remove: [/nix]`,
			`error: remove: "/nix" holds store paths that the image needs, such as "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app-1.0": name others`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := makeFile(dir, "root"+appPath+"/bin/app", "app"); err != nil {
				t.Fatal(err)
			}
			r, err := tryBuild(t, dir, "{name: a, "+c.spec+"}", Options{})
			if message, ok := strings.CutPrefix(c.want, "error: "); ok {
				if err == nil || !strings.HasPrefix(err.Error(), message) {
					t.Fatalf("the error is %v, want %s", err, message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, files := range ownLayers(t, r) {
				got = append(got, strings.Join(files, "|"))
			}
			if c.want == "nothing" {
				if len(got) > 0 {
					t.Errorf("the image has a layer: %q", got)
				}
				return
			}
			for i, want := range strings.Split(c.want, " / ") {
				if i >= len(got) || !holds(strings.Split(got[i], "|"), strings.Split(want, "|")) {
					t.Errorf("the layers are\n%s\nwant %d with\n%s", strings.Join(got, "\n"), i, want)
				}
			}
		})
	}
}

// holds reports whether files are these, and directories above them as they usually are.
func holds(files, these []string) bool {
	for _, f := range these {
		i := slices.Index(files, f)
		if i < 0 {
			return false
		}
		files = slices.Delete(slices.Clone(files), i, i+1)
	}
	return !slices.ContainsFunc(files, func(f string) bool {
		return !strings.HasPrefix(f, "0755 0:0 ")
	})
}
