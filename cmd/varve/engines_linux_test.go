package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/debstore"
	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// probe is the image's command, which shows what the engine made of the image. The
// root directory is left out: Podman 4.3 gives it the mode 0555 whatever the image
// says.
const probe = `id -u; id -g; pwd; echo "$GREETING"; echo "$PATH"
touch /tmp/mine && echo writable
stat -c "%a %u:%g %n" /tmp /etc /etc/motd /bin/su /srv/data /srv/data/file
cat /etc/motd /srv/hard "/srv/` + longName + `"
stat -c "%h %a %u:%g %n" /bin/su /bin/su-again /caps/grep /more/grep /srv/data/file /srv/data/again
grep CapEff /proc/self/status; /caps/grep CapEff /proc/self/status; /more/grep CapEff /proc/self/status
exit 7`

const longName = "long-nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

const probed = `1000
100
/srv/data
hello  world
/bin
writable
1777 0:0 /tmp
755 0:0 /etc
640 1000:100 /etc/motd
4755 0:0 /bin/su
750 1000:100 /srv/data
600 1000:100 /srv/data/file
motd
motd
long
2 4755 0:0 /bin/su
2 4755 0:0 /bin/su-again
2 755 0:0 /caps/grep
2 755 0:0 /more/grep
2 600 1000:100 /srv/data/file
2 600 1000:100 /srv/data/again
CapEff:	0000000000000000
CapEff:	0000000000000001
CapEff:	0000000000000001
`

// engineImage writes an image with a shell in each form to a directory, whose
// name Podman has to like: no capital letters. It returns the paths by form.
func engineImage(t *testing.T) map[string]string {
	t.Helper()
	busybox, err := os.ReadFile(testtools.Need(t, "busybox"))
	must(t, err)
	dir := openDir(t, "")
	tree := filepath.Join(dir, "tree")
	put(t, filepath.Join(tree, "bin/busybox"), string(busybox), 0o755)
	put(t, filepath.Join(tree, "caps/grep"), string(busybox), 0o755)
	put(t, filepath.Join(tree, "bin/su"), "su", 0o755)
	for _, applet := range []string{"sh", "id", "touch", "stat", "cat", "grep"} {
		must(t, os.Symlink("busybox", filepath.Join(tree, "bin", applet)))
	}
	put(t, filepath.Join(tree, "etc/motd"), "motd\n", 0o600)
	put(t, filepath.Join(tree, "srv/data/file"), "data\n", 0o600)
	put(t, filepath.Join(tree, "srv", longName), "long\n", 0o644)
	for name, again := range map[string]string{
		"etc/motd": "srv/hard", // with other attributes
		"bin/su":   "bin/su-again", "caps/grep": "more/grep", "srv/data/file": "srv/data/again",
	} {
		makeDirs(t, filepath.Dir(filepath.Join(tree, again)))
		must(t, os.Link(filepath.Join(tree, name), filepath.Join(tree, again)))
	}
	makeDirs(t, filepath.Join(tree, "proc"))
	spec, err := json.Marshal(map[string]any{
		"name": "varve-e2e", "tag": "one", "presets": []string{"tmp"},
		"copyToRoot": []any{map[string]any{"source": "tree", "hardLinks": true}},
		"perms": []any{
			map[string]any{"path": "/etc/motd", "mode": "0640", "uid": 1000, "gid": 100},
			map[string]any{"path": "/srv/data", "mode": "0750", "uid": 1000, "gid": 100},
			map[string]any{"path": "/srv/data/*", "uid": 1000, "gid": 100},
			map[string]any{"path": "/srv/hard", "uid": 1000, "mode": "0400"},
			map[string]any{"path": "/bin/su*", "mode": "4755"},
			map[string]any{"path": "/{caps,more}/grep", "capabilities": "cap_chown+ep"},
		},
		"config": map[string]any{
			"Entrypoint": []string{"/bin/sh"}, "Cmd": []string{"-c", probe}, "User": "1000:100",
			"Env": []string{"PATH=/bin", "GREETING=hello  world"}, "WorkingDir": "/srv/data",
		},
	})
	must(t, err)
	put(t, filepath.Join(dir, "image.json"), string(spec), 0o644)
	paths := map[string]string{}
	for _, d := range destinations {
		mustRun(t, dir, "build", "image.json", "-q", "-o", fmt.Sprintf(d.dest, dir))
		paths[d.name] = filepath.Join(dir, d.file)
	}
	return paths
}

// TestEngines: every form of an image gets into every engine and runs there as it
// should: unchanged if the engine reads the form, else decompressed or through
// skopeo. The log shows which engine reads what.
func TestEngines(t *testing.T) {
	testtools.NeedRoot(t)
	paths := engineImage(t)
	for _, name := range enginetest.Names() {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			for _, d := range destinations {
				t.Run(d.name, func(t *testing.T) { loadAndRun(t, engine, d.name, paths) })
			}
		})
	}
}

func loadAndRun(t *testing.T, engine enginetest.Engine, form string, paths map[string]string) {
	image, err := engine.Load(t.Context(), paths[form])
	judge(t, engine.Name(), form, err)
	detour := err != nil
	if detour {
		if image, err = engine.Load(t.Context(), readable(t, form, paths)); err != nil {
			t.Fatalf("load what every engine reads: %v", err)
		}
	}
	// containerd's store calls an image by its manifest.
	if !detour && (engine.Name() == "docker-classic" || engine.Name() == "docker" && !enginetest.Current()) {
		checkDockerID(t, engine, image, paths["tar"])
	}
	shown := probed
	if engine.Name() == "containerd" { // ctr runs with no_new_privs, which ends file capabilities
		shown = strings.ReplaceAll(probed, "CapEff:\t0000000000000001", "CapEff:\t0000000000000000")
	}
	enginetest.CheckRun(t, engine, image, enginetest.Result{Stdout: shown, ExitCode: 7})
	if err := engine.Remove(t.Context(), image); err != nil {
		t.Error(err)
	}
}

// judge compares an engine's answer to a form with the table.
func judge(t *testing.T, engine, form string, err error) {
	t.Helper()
	switch expected := enginetest.Reads(t, engine)[form]; {
	case err == nil && expected:
		t.Logf("%s reads %s", engine, form)
	case err == nil && enginetest.Current():
		t.Errorf("%s reads %s, docs/compatibility.md says that it does not", engine, form)
	case err == nil:
		t.Logf("%s reads %s, which Debian 12's does not", engine, form)
	case expected:
		t.Fatalf("%s does not read %s: %v", engine, form, err)
	default:
		t.Logf("%s refuses %s, as it is known to: %.200v", engine, form, err)
	}
}

// readable makes a plain docker-archive, which every engine reads, of another form.
func readable(t *testing.T, form string, paths map[string]string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plain.tar")
	switch form {
	case "tar.gz", "tar.zst":
		data, err := os.ReadFile(paths[form])
		must(t, err)
		data, err = plainBytes(data)
		must(t, err, os.WriteFile(out, data, 0o644))
		return out
	case "oci":
		form = "oci:" + paths[form] + ":one"
	case "oci-archive":
		form = "oci-archive:" + paths[form] + ":name"
	}
	if r := enginetest.Skopeo(t, "copy", "--quiet", form, "docker-archive:"+out+":varve-e2e:one"); r.ExitCode != 0 {
		t.Fatalf("skopeo copy: %s", r.Stderr)
	}
	return out
}

// checkDockerID: Docker calls the image by the id that varve gave it.
func checkDockerID(t *testing.T, docker enginetest.Engine, image, archive string) {
	t.Helper()
	r, err := enginetest.Output(docker.Command(t.Context(), "image", "inspect", "--format", "{{.Id}}", image))
	must(t, err)
	images, err := openImages(archive)
	must(t, err)
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(images[0].config)); strings.TrimSpace(r.Stdout) != want {
		t.Errorf("docker's image id is %q, want %s: %s", r.Stdout, want, r.Stderr)
	}
}

// TestSkopeo: skopeo reads the forms and copies between them.
func TestSkopeo(t *testing.T) {
	paths := engineImage(t)
	for form, ref := range map[string]string{
		"tar": "docker-archive:", "docker-archive": "docker-archive:", "tar.gz": "docker-archive:", "tar.zst": "docker-archive:",
		"oci": "oci:", "oci-archive": "oci-archive:",
	} {
		t.Run(form, func(t *testing.T) {
			r := enginetest.Skopeo(t, "inspect", "--config", ref+paths[form])
			var err error
			if r.ExitCode != 0 {
				err = fmt.Errorf("%s", r.Stderr)
			}
			if judge(t, "skopeo", form, err); err != nil {
				return
			}
			mustFind(t, r.Stdout, `"GREETING=hello  world"`, `"/srv/data"`, `"diff_ids"`)
			copied := filepath.Join(t.TempDir(), "layout")
			if r := enginetest.Skopeo(t, "copy", "--quiet", ref+paths[form], "oci:"+copied+":x"); r.ExitCode != 0 {
				t.Errorf("skopeo copy: %s", r.Stderr)
			}
		})
	}
}

// TestUmoci: umoci unpacks the layout: owners, modes, capabilities, long names
// and links are on disk as the spec has them.
func TestUmoci(t *testing.T) {
	testtools.NeedRoot(t)
	paths := engineImage(t)
	for _, d := range destinations {
		bundle := filepath.Join(t.TempDir(), "bundle")
		var err error
		if r := enginetest.Umoci(t, "unpack", "--image", paths[d.name]+":one", bundle); r.ExitCode != 0 {
			err = fmt.Errorf("%s", r.Stderr)
		}
		judge(t, "umoci", d.name, err)
		if err == nil {
			checkUnpacked(t, filepath.Join(bundle, "rootfs"))
		}
	}
}

func checkUnpacked(t *testing.T, root string) {
	t.Helper()
	for path, want := range map[string]string{
		"tmp": "41777 0:0", "etc": "40755 0:0", "etc/motd": "100640 1000:100", "bin/su": "104755 0:0",
		"srv/data": "40750 1000:100", "srv/hard": "100400 1000:0", "bin/su-again": "104755 0:0", "srv/data/again": "100600 1000:100", "srv/" + longName: "100644 0:0",
	} {
		var st syscall.Stat_t
		must(t, syscall.Lstat(filepath.Join(root, path), &st))
		if got := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
		if st.Mtim.Sec != 1 && path != "tmp" {
			t.Errorf("%s has the time %d, want 1", path, st.Mtim.Sec)
		}
	}
	buf := make([]byte, 64)
	n, err := unix.Lgetxattr(filepath.Join(root, "caps/grep"), "security.capability", buf)
	if want := "\x01\x00\x00\x02\x01"; err != nil || !strings.HasPrefix(string(buf[:max(n, 0)]), want) {
		t.Errorf("security.capability is %x, %v, want %x…", buf[:max(n, 0)], err, want)
	}
	for name, again := range map[string]string{"bin/su": "bin/su-again", "caps/grep": "more/grep", "srv/data/file": "srv/data/again"} {
		one, err := os.Lstat(filepath.Join(root, name))
		must(t, err)
		other, err := os.Lstat(filepath.Join(root, again))
		if must(t, err); !os.SameFile(one, other) {
			t.Errorf("%s and %s are different files", name, again)
		}
	}
	if target, err := os.Readlink(filepath.Join(root, "bin/sh")); target != "busybox" {
		t.Errorf("bin/sh leads to %q, %v", target, err)
	}
}

// TestClosureRuns: the closure of a shell, in layers, runs in an engine. The shell
// is Debian's, whose programs find their libraries through the links in the root.
func TestClosureRuns(t *testing.T) {
	testtools.NeedRoot(t)
	testtools.Need(t, "dpkg-query")
	dir := openDir(t, "")
	store := filepath.Join(dir, "nix/store")
	if _, err := debstore.Make(context.Background(), store, dir, []string{"bash"}); err != nil {
		t.Fatal(err)
	}
	var closure struct{ Closure []debstore.Path }
	data, err := os.ReadFile(filepath.Join(dir, "closure.json"))
	must(t, err, json.Unmarshal(data, &closure))
	var contents []string
	for _, p := range closure.Closure {
		contents = append(contents, p.Path)
	}
	makeDirs(t, filepath.Join(dir, "merged"))
	for _, name := range []string{"bin", "lib", "lib64"} { // as Debian has them
		must(t, os.Symlink("usr/"+name, filepath.Join(dir, "merged", name)))
	}
	spec, err := json.Marshal(map[string]any{
		"name": "varve-closure", "tag": "one", "copyToRoot": "merged", "contents": contents, "closure": "closure.json", "storeDir": store,
		"conflicts": "first", "presets": []string{"tmp", "nss"}, "maxLayers": 8,
		"config": map[string]any{"Cmd": []string{"/bin/bash", "-c", `echo $((6 * 7)) "$BASH"; exit 3`}},
	})
	must(t, err)
	put(t, filepath.Join(dir, "image.json"), string(spec), 0o644)
	mustRun(t, dir, "build", "image.json", "-q", "-o", "a.tar")
	for _, name := range enginetest.Names() {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			image, err := engine.Load(t.Context(), filepath.Join(dir, "a.tar"))
			must(t, err)
			enginetest.CheckRun(t, engine, image, enginetest.Result{Stdout: "42 /bin/bash\n", ExitCode: 3})
			must(t, engine.Remove(t.Context(), image))
		})
	}
}
