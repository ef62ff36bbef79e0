package main

import (
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// loading returns an engine for varve load: of current Dockers the one with a store of its own, as
// an image in containerd's has another id and is sent again.
func loading(t *testing.T, name string) enginetest.Engine {
	t.Helper()
	if name == "docker" && enginetest.Current() {
		name = "docker-classic"
	}
	return engines.Get(t, name)
}

// TestLoad: an image gets into an engine without a file in between, runs there, is
// not sent twice, and comes back with its id.
func TestLoad(t *testing.T) {
	testtools.NeedRoot(t)
	paths := engineImage(t)
	for name, place := range map[string]struct{ variable, transport string }{
		"docker": {"DOCKER_HOST", "docker-daemon"}, "containerd": {"CONTAINERD_ADDRESS", "containerd"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := loading(t, name)
			load := func(args ...string) outcome {
				cmd := varve(t, t.TempDir(), args...)
				cmd.Env = append(cmd.Env, place.variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
				o := run(t, cmd)
				if o.code != 0 {
					t.Fatalf("varve %q: exit code %d: %s", args, o.code, o.stderr)
				}
				return o
			}
			load("load", "--into", name, paths["tar.zst"])
			again := load("load", "--into", name, paths["tar"])
			mustFind(t, again.stderr, "already")
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
	for name, variable := range map[string]string{"docker": "DOCKER_HOST", "containerd": "CONTAINERD_ADDRESS"} {
		t.Run(name, func(t *testing.T) {
			engine := loading(t, name)
			load := func(archive string) string {
				cmd := varve(t, dir, "load", "--into", name, archive)
				cmd.Env = append(cmd.Env, variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
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
