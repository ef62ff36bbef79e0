package assemble

import (
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/layer"
)

// smallStore returns a store in which app refers to libc and bash, and libc to nothing.
func smallStore(more map[string]string) map[string]string {
	files := map[string]string{
		"root" + appPath + "/bin/app":      "#!" + bashPath + "/bin/bash\n" + libcPath + "\n",
		"root" + bashPath + "/bin/bash":    "needs " + libcPath + "\n",
		"root" + libcPath + "/lib/libc.so": "libc",
	}
	for name, text := range more {
		files[name] = text
	}
	return files
}

// TestGroupOfContents: it is the store layer that nixpkgs would make of these
// paths, and the links to them are in the top layer.
func TestGroupOfContents(t *testing.T) {
	dir := makeFiles(t, smallStore(nil))
	r := mustBuild(t, dir, "name: a\nlayers: [{contents: ["+bashPath+"]}]\nuid: 3\n")
	wantPlan(t, r, "store "+libcPath+" "+bashPath, "tree")
	wantLayer(t, r, -1, "0755 0:0 ./", "0755 0:0 ./bin/", "0777 0:0 ./bin/bash -> "+bashPath+"/bin/bash")
	nixpkgs := layer.Store([]string{libcPath, bashPath}, layer.StoreOptions{
		UID: 3, Uname: "root", Gname: "root", ModTime: 1, Root: dir + "/root",
	})
	want, err := nixpkgs.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Image.Layers()[0].Info(t.Context()); err != nil || got != want {
		t.Errorf("the layer is %v, %v; want %v", got, err, want)
	}
	if got := r.Description.History[0].Comment; got != "store paths: ['"+libcPath+"', '"+bashPath+"']" {
		t.Errorf("its history says %q", got)
	}
}

// TestGroupOfFiles: it is one layer of its files, with the store paths that it
// asks for and those that its files mention.
func TestGroupOfFiles(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{"conf/etc/shell": bashPath + "/bin/bash"}))
	for text, links := range map[string][]string{
		"copyToRoot: [conf]": nil,
		"copyToRoot: [conf], contents: [" + libcPath + "]": {
			"0755 0:0 ./lib/", "0777 0:0 ./lib/libc.so -> " + libcPath + "/lib/libc.so",
		},
	} {
		t.Run(text, func(t *testing.T) {
			r := mustBuild(t, dir, "name: a\nlayers: [{"+text+"}]\n")
			wantPlan(t, r, "tree "+libcPath+" "+bashPath, "tree")
			wantLayer(t, r, 0, "0755 0:0 ./",
				"0755 0:0 ./etc/", `0644 0:0 ./etc/shell = "`+bashPath+`/bin/bash"`,
				"0755 0:0 ./nix/", "0755 0:0 ./nix/store/",
				"0755 0:0 ."+bashPath+"/", "0755 0:0 ."+bashPath+"/bin/",
				`0644 0:0 .`+bashPath+`/bin/bash = "needs `+libcPath+`\n"`,
				"0755 0:0 ."+libcPath+"/", "0755 0:0 ."+libcPath+"/lib/",
				`0644 0:0 .`+libcPath+`/lib/libc.so = "libc"`)
			wantLayer(t, r, -1, append([]string{"0755 0:0 ./"}, links...)...)
		})
	}
}

// TestPathOfTwoGroups: a store path is in the first group that needs it, and
// nowhere else.
func TestPathOfTwoGroups(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{"conf/shell": bashPath}))
	for text, want := range map[string][]string{
		"layers: [{contents: [" + bashPath + "]}, {contents: [" + appPath + "]}]": {
			"store " + libcPath + " " + bashPath, "store " + appPath, "tree",
		},
		"layers: [{contents: [" + libcPath + "]}, {copyToRoot: [conf]}, {contents: [" + appPath + "]}]": {
			"store " + libcPath, "tree " + bashPath, "store " + appPath, "tree",
		},
		"layers: [{contents: [" + libcPath + "]}]\ncontents: [" + appPath + "]": {
			"store " + bashPath, "store " + appPath, "store " + libcPath, "tree",
		},
	} {
		t.Run(text, func(t *testing.T) {
			wantPlan(t, mustBuild(t, dir, "name: a\n"+text), want...)
		})
	}
}

// TestLayersThroughLinks: what a layer adds goes through the symlinks of the
// explicit layers below it.
func TestLayersThroughLinks(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{
		"low/bin": "-> usr/bin", "low/usr/bin/tool": "tool", "low/lib": "-> /usr/lib", "low/usr/lib/": "", "file": "x",
	}))
	const low = "name: a\nkeepContentsDirlinks: true\nlayers: [{copyToRoot: [low], keepContentsDirlinks: true}"
	r := mustBuild(t, dir, low+"]\ncopyToRoot: [{source: file, target: /bin/x}, {source: file, target: /lib/y}]\n")
	wantLayer(t, r, -1, "0755 0:0 ./", "0755 0:0 ./usr/", "0755 0:0 ./usr/bin/", `0644 0:0 ./usr/bin/x = "x"`,
		"0755 0:0 ./usr/lib/", `0644 0:0 ./usr/lib/y = "x"`)
	r = mustBuild(t, dir, low+", {copyToRoot: [{source: file, target: /bin/x}]}]\ncontents: ["+bashPath+"]\n")
	wantLayer(t, r, -2, "0755 0:0 ./", "0755 0:0 ./usr/", "0755 0:0 ./usr/bin/", `0644 0:0 ./usr/bin/x = "x"`)
	wantLayer(t, r, -1, "0755 0:0 ./", "0755 0:0 ./usr/", "0755 0:0 ./usr/bin/", "0777 0:0 ./usr/bin/bash -> "+bashPath+"/bin/bash")
}

// TestConflictsOfLayers: files of two layers for one path are a conflict, like
// those of two sources of one layer.
func TestConflictsOfLayers(t *testing.T) {
	dir := makeFiles(t, map[string]string{
		"one/etc/motd": "one", "two/etc/motd": "second", "two/etc/more": "more",
		"low/bin": "-> usr/bin", "low/usr/bin/x": "one", "high/usr/bin/x": "second", "file": "other", "root/": "",
	})
	const dirs = "0755 0:0 ./\n0755 0:0 ./etc/\n"
	for _, tt := range []struct {
		name, spec, path string
		sources          []string
		first, last      string // listings of the top layer; empty means unchecked
	}{
		{
			"top", "layers: [{copyToRoot: [one]}]\ncopyToRoot: [two]", "etc/motd", []string{"one/etc/motd", "two/etc/motd"},
			dirs + `0644 0:0 ./etc/more = "more"`,
			dirs + "0644 0:0 ./etc/more = \"more\"\n" + `0644 0:0 ./etc/motd = "second"`,
		},
		{
			"two groups", "layers: [{copyToRoot: [one]}, {copyToRoot: [two]}]", "etc/motd", []string{"one/etc/motd", "two/etc/motd"},
			"0755 0:0 ./", "0755 0:0 ./",
		},
		{
			"through a link", "layers: [{copyToRoot: [low], keepContentsDirlinks: true}]\ncopyToRoot: [{source: file, target: /bin/x}]",
			"usr/bin/x", []string{"low/usr/bin/x", "file"},
			"0755 0:0 ./\n0755 0:0 ./usr/\n0755 0:0 ./usr/bin/",
			"0755 0:0 ./\n0755 0:0 ./usr/\n0755 0:0 ./usr/bin/\n" + `0644 0:0 ./usr/bin/x = "other"`,
		},
		{
			"preset", "layers: [{copyToRoot: [{source: file, target: /bin/sh}]}]\npresets: [{binSh: busybox}]",
			"bin/sh", []string{"file", "preset binSh"},
			"0755 0:0 ./\n0755 0:0 ./bin/", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "name: a\n" + tt.spec + "\n"
			_, err := tryBuild(t, dir, text, Options{})
			if err == nil {
				t.Fatal("it is not an error")
			}
			for _, want := range append(tt.sources, `"`+tt.path+`"`, "conflicts: first") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, want %q in it", err, want)
				}
			}
			for policy, want := range map[string]string{"first": tt.first, "last": tt.last} {
				if want != "" {
					wantLayer(t, mustBuild(t, dir, text+"conflicts: "+policy+"\n"), -1, want)
				}
			}
		})
	}
}

// TestNoConflictOfLayers: the same file twice is not a conflict, nor is one that
// replaces the base's.
func TestNoConflictOfLayers(t *testing.T) {
	dir := makeFiles(t, map[string]string{"one/etc/motd": "one", "same/etc/motd": "one", "two/etc/motd": "second", "root/": ""})
	makeBase(t, dir, "{name: base, copyToRoot: [one]}")
	mustBuild(t, dir, "name: a\nlayers: [{copyToRoot: [one]}]\ncopyToRoot: [same]\n")
	r := mustBuild(t, dir, "name: a\nfromImage: base.tar\nlayers: [{copyToRoot: [two]}]\n")
	wantLayer(t, r, -1, "0755 0:0 ./", "0755 0:0 ./etc/", `0644 0:0 ./etc/motd = "second"`)
	for _, policy := range []string{"first", "last"} {
		// The base is not a source of the spec: what is put on it stays there.
		r := mustBuild(t, dir, "name: a\nfromImage: base.tar\ncopyToRoot: [two]\nconflicts: "+policy+"\n")
		wantLayer(t, r, -1, "0755 0:0 ./", "0755 0:0 ./etc/", `0644 0:0 ./etc/motd = "second"`)
	}
}

// TestPresetsSeeLayers: a preset that fits itself to the image looks into the
// explicit layers, and into the base.
func TestPresetsSeeLayers(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{
		"low/bin/bash": "bash", "low/bin/env": "env", "low/etc/passwd": "app:x:1:1::/:/bin/sh\n",
	}))
	makeBase(t, dir, "{name: base, copyToRoot: [low]}")
	for name, below := range map[string]string{"layer": "layers: [{copyToRoot: [low]}]\n", "base": "fromImage: base.tar\n"} {
		t.Run(name, func(t *testing.T) {
			r := mustBuild(t, dir, "name: a\npresets: [binSh, usrBinEnv, shadow]\n"+below)
			got := strings.Split(listing(t, r.Image.Layers()[1]), "\n")
			for line, want := range map[string]bool{
				"0777 0:0 ./bin/sh -> /bin/bash": true, "0777 0:0 ./usr/bin/env -> /bin/env": true, `0644 0:0 ./etc/group = "root:x:0:\n"`: true,
				`0600 0:0 ./etc/shadow = "root:!x:::::::\n"`: false, `0644 0:0 ./etc/passwd = "root:x:0:0::/root:/bin/sh\n"`: false,
			} {
				if slices.Contains(got, line) != want {
					t.Errorf("the top layer is\n%s\nis %q in it: want %v", strings.Join(got, "\n"), line, want)
				}
			}
		})
	}
	// A system whose /bin and /etc are symlinks has these files all the same.
	dir = makeFiles(t, smallStore(map[string]string{
		"low/bin": "-> usr/bin", "low/usr/bin/bash": "bash", "low/usr/bin/env": "env", "low/etc": "-> /conf", "low/conf/passwd": "app:x:1:1::/:/bin/sh\n",
	}))
	makeBase(t, dir, "{name: base, copyToRoot: [low], keepContentsDirlinks: true}")
	for _, with := range []string{"layers: [{copyToRoot: [low], keepContentsDirlinks: true}]", "fromImage: base.tar"} {
		r := mustBuild(t, dir, "name: a\npresets: [binSh, usrBinEnv, shadow]\nconflicts: last\n"+with)
		if got := listing(t, r.Image.Layers()[1]); strings.Contains(got, "passwd") || strings.Contains(got, "/shadow") || !strings.Contains(got, "./usr/bin/sh -> /bin/bash") {
			t.Errorf("with %s the top layer is\n%s", with, got)
		}
	}
	r := mustBuild(t, dir, "name: a\npresets: [binSh]\nlayers: [{contents: ["+bashPath+"]}]\n")
	if got, want := listing(t, r.Image.Layers()[1]), "./bin/sh -> "+bashPath+"/bin/bash"; !strings.Contains(got, want) {
		t.Errorf("the top layer is\n%s\nwant %s", got, want)
	}
	_, err := tryBuild(t, dir, "name: a\npresets: [binSh]\nlayers: [{contents: ["+libcPath+"]}]\n", Options{})
	wantSpecError(t, err, "presets[0]: binSh", "the image has no /bin/bash")
}

// TestMaxLayersOfLayers: the limit holds for images without store paths too,
// and the base's layers count.
func TestMaxLayersOfLayers(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{"a/a": "a", "b/b": "b"}))
	makeBase(t, dir, "name: base\ncopyToRoot: [a]\nlayers: [{copyToRoot: [b]}]\n") // two layers
	const groups, base, contents = "layers: [{copyToRoot: [a]}, {copyToRoot: [b]}]\n", "fromImage: base.tar\n", "contents: [" + libcPath + "]\n"
	for _, tt := range []struct {
		spec, least, below string
		says               []string
	}{
		{groups, "3", "2", []string{"has 3 layers", "allows 2"}},
		{base, "2", "1", []string{"has 2 layers", "allows 1"}},
		{base + groups, "4", "3", []string{"has 4 layers", "allows 3"}},
		{base + "layerFormat: 1\n", "3", "2", []string{"has 3 layers", "allows 2"}},
		{contents, "2", "1", []string{"maxLayers is 1", "base image has 0", "are 1", "at least 2"}},
		{base + contents, "4", "3", []string{"maxLayers is 3", "base image has 2", "are 1", "at least 4"}},
		{base + groups + contents, "6", "5", []string{"maxLayers is 5", "base image has 2", "are 3", "at least 6"}},
	} {
		t.Run(tt.spec, func(t *testing.T) {
			_, err := tryBuild(t, dir, "name: a\n"+tt.spec+"maxLayers: "+tt.below, Options{})
			wantSpecError(t, err, "maxLayers", tt.says...)
			if _, err := tryBuild(t, dir, "name: a\n"+tt.spec+"maxLayers: "+tt.least, Options{}); err != nil {
				t.Errorf("%s, maxLayers %s: %v", tt.spec, tt.least, err)
			}
		})
	}
	// What is left is what the store paths are spread over.
	r := mustBuild(t, dir, "name: a\n"+base+"contents: ["+appPath+"]\nmaxLayers: 5\nlayering: popularity\n")
	wantPlan(t, r, "base", "base", "store "+libcPath, "store "+bashPath+" "+appPath, "tree")
}
