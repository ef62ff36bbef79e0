package main

import (
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// loadable are the engines of varve load, and how it and others know where they are.
func loadable() map[string]struct{ into, variable, transport string } {
	engines := map[string]struct{ into, variable, transport string }{
		"docker": {"docker", "DOCKER_HOST", "docker-daemon"}, "containerd": {"containerd", "CONTAINERD_ADDRESS", "containerd"},
	}
	if enginetest.Current() {
		engines["docker-classic"] = engines["docker"]
	}
	return engines
}

// TestLoad: an image gets into an engine without a file in between, runs there, is
// not sent twice, and comes back with its id.
func TestLoad(t *testing.T) {
	testtools.NeedRoot(t)
	paths := engineImage(t)
	for name, place := range loadable() {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			load := func(args ...string) outcome {
				cmd := varve(t, t.TempDir(), args...)
				cmd.Env = append(cmd.Env, place.variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
				o := run(t, cmd)
				if o.code != 0 {
					t.Fatalf("varve %q: exit code %d: %s", args, o.code, o.stderr)
				}
				return o
			}
			first := load("load", "--into", place.into, paths["tar.zst"])
			again := load("load", "--into", place.into, paths["tar"])
			mustFind(t, again.stderr, "already")
			// An engine that keeps manifests knows the image by a digest.
			printed := "^$"
			if name == "containerd" || name == "docker" && enginetest.Current() {
				printed = `^varve-e2e@sha256:[0-9a-f]{64}\n$`
			}
			for _, o := range []outcome{first, again} {
				if !regexp.MustCompile(printed).MatchString(o.stdout) {
					t.Errorf("printed %q, want %s", o.stdout, printed)
				}
			}
			full := "varve-e2e:one"
			if name == "containerd" { // it uses full image names
				full = "docker.io/library/" + full
			}
			got, err := engine.Run(t.Context(), full)
			if err != nil || got.ExitCode != 7 || !strings.Contains(got.Stdout, "hello  world") {
				t.Errorf("run: %v %+v", err, got)
			}
			here := run(t, varve(t, t.TempDir(), "inspect", paths["tar"]))
			there := load("inspect", place.transport+":varve-e2e:one")
			id := strings.SplitAfter(strings.SplitN(here.stdout, "id        ", 2)[1], "\n")[0]
			mustFind(t, there.stdout, id)
			if err := engine.Remove(t.Context(), full); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLoadAll: all images of an archive get into an engine, each by all its names, even
// if it has one of them already; an image without a name runs by its id.
func TestLoadAll(t *testing.T) {
	testtools.NeedRoot(t)
	dir := openDir(t, "")
	one := engineImage(t)["tar"]
	mustRun(t, dir, "copy", "-q", one, "docker-archive:"+dir+"/b.tar:varve-e2e:b")
	mustRun(t, dir, "copy", "-q", one, "oci:both")
	mustRun(t, dir, "copy", "-q", "b.tar", "oci:both")
	mustRun(t, dir, "copy", "-q", "both", "names.tar")
	mustRun(t, dir, "build", "--name", "varve-e2e-other", "--tag", "1", "--from", one, "--cmd", "-c", "--cmd", "exit 5", "-q", "-o", "other.tar")
	mustRun(t, dir, "merge", "names.tar", "other.tar", "-q", "-o", "all.tar")
	for name, place := range loadable() {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			load := func(archive string) string {
				cmd := varve(t, dir, "load", "--into", place.into, archive)
				cmd.Env = append(cmd.Env, place.variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
				o := run(t, cmd)
				if o.code != 0 {
					t.Fatalf("load %s: exit code %d: %s", archive, o.code, o.stderr)
				}
				return o.stderr
			}
			load("b.tar")
			mustFind(t, load("all.tar"), "image varve-e2e:one, varve-e2e:b, id sha256:", "image varve-e2e-other:1, id sha256:")
			mustFind(t, load("all.tar"), "has varve-e2e:one, varve-e2e:b already", "has varve-e2e-other:1 already")
			for image, code := range map[string]int{"varve-e2e:one": 7, "varve-e2e:b": 7, "varve-e2e-other:1": 5} {
				if name == "containerd" { // it uses full image names
					image = "docker.io/library/" + image
				}
				got, err := engine.Run(t.Context(), image)
				if err != nil || got.ExitCode != code {
					t.Errorf("run %s: %v %+v", image, err, got)
				}
				if err := engine.Remove(t.Context(), image); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestLoadPushed: an engine that keeps manifests has the digest of the push, of an image that was
// pushed before; after a change of one layer it gets that layer.
func TestLoadPushed(t *testing.T) {
	testtools.NeedRoot(t)
	host := enginetest.Registry(t)
	dir := openDir(t, "")
	big := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(big) // never fails
	put(t, filepath.Join(dir, "big"), string(big), 0o644)
	put(t, filepath.Join(dir, "spec.yaml"), "name: varve-e2e-pushed\ntag: \"1\"\nlayers:\n- copyToRoot: [{source: big, target: /}]\ncopyToRoot: [{source: small, target: /}]\n", 0o644)
	for name, place := range loadable() {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			load := func(content string) (pushed, loaded string) {
				put(t, filepath.Join(dir, "small"), content, 0o644)
				mustRun(t, dir, "build", "spec.yaml", "--cache", "cache", "-q", "-o", "image.tar")
				push := mustRun(t, dir, "copy", "image.tar", "docker://"+host+"/pushed:1", "--cache", "cache", "--insecure", host)
				_, digest, _ := strings.Cut(push.stderr, " is sha256:")
				cmd := varve(t, dir, "load", "--into", place.into, "--cache", "cache", "image.tar")
				cmd.Env = append(cmd.Env, place.variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
				o := run(t, cmd)
				if o.code != 0 {
					t.Fatalf("load: exit code %d: %s", o.code, o.stderr)
				}
				return "sha256:" + digest[:64], o.stderr
			}
			pushed, loaded := load("one " + name)
			if name == "containerd" || strings.Contains(loaded, "manifest ") {
				mustFind(t, loaded, "manifest "+pushed)
			}
			pushed, loaded = load("two " + name)
			mustFind(t, loaded, "2 layers (", "reused, ", "B sent)")
			if name == "containerd" || strings.Contains(loaded, "manifest ") {
				mustFind(t, loaded, "manifest "+pushed)
			}
			_, loaded = load("two " + name)
			mustFind(t, loaded, "already")
		})
	}
}

// TestEnginePlatforms: of an image for several platforms, which the engine's own command has loaded,
// the one that is asked for comes out of the engine.
func TestEnginePlatforms(t *testing.T) {
	testtools.NeedRoot(t)
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "tree/file-amd64"), "amd64\n", 0o644)
	put(t, filepath.Join(dir, "tree/file-arm64"), "arm64\n", 0o644)
	put(t, filepath.Join(dir, "spec.yaml"), "name: varve-e2e-platforms\ntag: \"1\"\ncopyToRoot: ['tree/file-${arch}']\n", 0o644)
	mustRun(t, dir, "build", "spec.yaml", "--platform", "linux/amd64,linux/arm64", "-q", "-o", "both.tar")
	for name, place := range loadable() {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			load := []string{"load", "--input", filepath.Join(dir, "both.tar")}
			if name == "containerd" {
				load = []string{"image", "import", "--all-platforms", "--no-unpack", filepath.Join(dir, "both.tar")}
			}
			if r, err := enginetest.Output(engine.Command(t.Context(), load...)); err != nil || r.ExitCode != 0 {
				t.Fatalf("load: %v %+v", err, r)
			}
			all := name == "containerd" || name == "docker" && enginetest.Current()
			for _, arch := range []string{"amd64", "arm64"} {
				out := filepath.Join(t.TempDir(), "out.tar")
				cmd := varve(t, dir, "copy", place.transport+":varve-e2e-platforms:1", "--platform", "linux/"+arch, "docker-archive:"+out)
				cmd.Env = append(cmd.Env, place.variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
				o := run(t, cmd)
				if arch == "arm64" && !all {
					if o.code == 0 {
						t.Errorf("%s: an engine for one platform has another's image: %s", arch, o.stderr)
					}
					mustFind(t, o.stderr, "linux/a")
					continue
				}
				if o.code != 0 {
					t.Fatalf("%s: exit code %d: %s", arch, o.code, o.stderr)
				}
				mustFind(t, mustRun(t, dir, "inspect", out).stdout, "linux/"+arch, "file-"+arch)
			}
		})
	}
}
