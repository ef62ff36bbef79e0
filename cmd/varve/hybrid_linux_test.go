package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// engineTree makes a tree whose program prints its architecture, for this machine and another.
func engineTree(t *testing.T) (dir, other string) {
	t.Helper()
	busybox, err := os.ReadFile(testtools.Need(t, "busybox"))
	must(t, err)
	if other = "arm64"; runtime.GOARCH == other {
		other = "amd64"
	}
	dir = openDir(t, "")
	for _, arch := range []string{runtime.GOARCH, other} {
		put(t, filepath.Join(dir, "tree", arch, "bin/busybox"), string(busybox), 0o755)
		put(t, filepath.Join(dir, "tree", arch, "arch"), arch+"\n", 0o644)
	}
	makeDirs(t, filepath.Join(dir, "tree", runtime.GOARCH, "proc"))
	put(t, filepath.Join(dir, "image.yaml"), `
name: varve-hybrid
tag: "1"
copyToRoot: ["tree/${arch}"]
config: {Cmd: [/bin/busybox, cat, /arch]}
`, 0o644)
	return dir, other
}

// loadHybrid loads an archive and runs its image.
func loadHybrid(t *testing.T, engine enginetest.Engine, path string) (image string) {
	t.Helper()
	image, err := engine.Load(t.Context(), path)
	must(t, err)
	enginetest.CheckRun(t, engine, image, enginetest.Result{Stdout: runtime.GOARCH + "\n"})
	return image
}

// output returns what an engine's command prints.
func output(t *testing.T, e enginetest.Engine, args ...string) string {
	t.Helper()
	r, err := enginetest.Output(e.Command(t.Context(), args...))
	if err != nil || r.ExitCode != 0 {
		t.Fatalf("%s %q: %+v, %v", e.Name(), args, r, err)
	}
	return r.Stdout
}

// TestHybridEngines: every engine takes an archive for several platforms, one with a base and two
// images with several names, as they are and as standard input; containerd keeps the digest.
func TestHybridEngines(t *testing.T) {
	testtools.NeedRoot(t)
	dir, other := engineTree(t)
	both := "linux/" + runtime.GOARCH + ",linux/" + other
	mustRun(t, dir, "build", "image.yaml", "-q", "--platform", both, "-o", "both.tar")
	mustRun(t, dir, "build", "image.yaml", "-q", "--from", "both.tar", "--tag", "2", "--annotation", "a=b", "-o", "child.tar")
	mustRun(t, dir, "copy", "-q", "both.tar", "docker-archive:names.tar:varve-hybrid:3")
	mustRun(t, dir, "copy", "-q", "names.tar", "oci:names")
	mustRun(t, dir, "copy", "-q", "docker-archive:both.tar:varve-hybrid:1", "archive:more.tar:registry.example:5000/varve/hybrid:x")
	mustRun(t, dir, "copy", "-q", "more.tar", "oci:names")
	mustRun(t, dir, "copy", "-q", "child.tar", "oci:names")
	mustRun(t, dir, "copy", "-q", "names", "names.tar")
	streamed := run(t, varve(t, dir, "stream", "image.yaml", "-q", "--tag", "4"))
	put(t, filepath.Join(dir, "streamed.tar"), streamed.stdout, 0o644)
	for _, name := range enginetest.Names() {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			for archive, tag := range map[string]string{"both.tar": "1", "child.tar": "2", "streamed.tar": "4"} {
				image := loadHybrid(t, engine, filepath.Join(dir, archive))
				if !strings.HasSuffix(image, "varve-hybrid:"+tag) {
					t.Errorf("%s: it is called %q", archive, image)
				}
				checkKept(t, engine, dir, archive, image)
				must(t, engine.Remove(t.Context(), image))
			}
		})
	}
	for _, name := range enginetest.Names() {
		t.Run(name+" names", func(t *testing.T) { checkHybridNames(t, engines.Get(t, name), filepath.Join(dir, "names.tar")) })
	}
}

// checkKept compares an engine's digest or id of an image with the archive's.
func checkKept(t *testing.T, engine enginetest.Engine, dir, archive, image string) {
	t.Helper()
	shown := mustRun(t, dir, "inspect", archive, "--json").stdout
	var list []struct{ ID, Manifest, Index string }
	must(t, json.Unmarshal([]byte(shown), &list))
	want := list[0]
	top := want.Manifest
	if want.Index != "" {
		top = want.Index
	}
	if engine.Name() == "docker" && enginetest.Current() { // with containerd's store
		mustFind(t, output(t, engine, "image", "inspect", "--format", "{{.Id}}", image), top)
		return
	}
	switch engine.Name() {
	case "docker", "docker-classic":
		mustFind(t, output(t, engine, "image", "inspect", "--format", "{{.Id}}", image), want.ID)
	case "podman":
		mustFind(t, "sha256:"+output(t, engine, "image", "inspect", "--format", "{{.Id}}", image), want.ID)
	case "containerd":
		mustFind(t, output(t, engine, "image", "ls", "name=="+image), top)
	}
}

// checkHybridNames: two images get in under all their names.
func checkHybridNames(t *testing.T, engine enginetest.Engine, path string) {
	t.Helper()
	names := map[string]string{
		"varve-hybrid:3": "docker.io/library/varve-hybrid:3", "registry.example:5000/varve/hybrid:x": "", "varve-hybrid:2": "docker.io/library/varve-hybrid:2",
	}
	if _, err := engine.Load(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	for name, full := range names {
		if engine.Name() == "containerd" && full != "" {
			name = full
		}
		enginetest.CheckRun(t, engine, name, enginetest.Result{Stdout: runtime.GOARCH + "\n"})
		if err := engine.Remove(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

// TestHybridTools: skopeo reads either half, and umoci the layout that the archive unpacks to.
func TestHybridTools(t *testing.T) {
	dir, other := engineTree(t)
	both := "linux/" + runtime.GOARCH + ",linux/" + other
	mustRun(t, dir, "build", "image.yaml", "-q", "--platform", both, "-o", "both.tar")
	mustRun(t, dir, "build", "image.yaml", "-q", "-o", "one.tar")
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, from := range []string{
		"docker-archive:" + path("one.tar"), "oci-archive:" + path("one.tar"), "oci-archive:" + path("one.tar") + ":1",
		"docker-archive:" + path("one.tar") + ":varve-hybrid:1", "docker-archive:" + path("both.tar"), "oci-archive:" + path("both.tar"),
	} {
		to := filepath.Join(openDir(t, ""), "layout")
		if r := enginetest.Skopeo(t, "copy", "--quiet", from, "oci:"+to+":x"); r.ExitCode != 0 {
			t.Errorf("skopeo copy %s: %s", from, r.Stderr)
			continue
		}
		shown := mustRun(t, dir, "inspect", "oci:"+to+":x").stdout
		mustFind(t, shown, "linux/"+runtime.GOARCH)
	}
	to := filepath.Join(openDir(t, ""), "layout")
	if r := enginetest.Skopeo(t, "copy", "--quiet", "--all", "oci-archive:"+path("both.tar"), "oci:"+to+":x"); r.ExitCode != 0 {
		t.Errorf("skopeo copy --all: %s", r.Stderr)
	} else {
		var index v1.Index
		must(t, json.Unmarshal([]byte(mustRun(t, dir, "inspect", "--raw", "oci:"+to+":x").stdout), &index))
		if len(index.Manifests) != 2 {
			t.Errorf("skopeo copies %d images", len(index.Manifests))
		}
	}
	unpacked, bundle := openDir(t, ""), filepath.Join(t.TempDir(), "bundle")
	must(t, exec.Command(testtools.Need(t, "tar"), "-x", "-C", unpacked, "-f", path("one.tar")).Run())
	args := []string{"unpack", "--image", unpacked + ":1", bundle}
	if os.Geteuid() != 0 {
		args = append([]string{"unpack", "--rootless"}, args[1:]...)
	}
	if r := enginetest.Umoci(t, args...); r.ExitCode != 0 {
		t.Fatalf("umoci unpack: %s", r.Stderr)
	}
	if data, err := os.ReadFile(filepath.Join(bundle, "rootfs/arch")); err != nil || string(data) != runtime.GOARCH+"\n" {
		t.Errorf("unpacked is %q, %v", data, err)
	}
}
