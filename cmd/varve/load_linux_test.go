package main

import (
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// TestLoad: an image gets into an engine without a file between, runs there,
// is not sent twice, and comes back with the id that it had.
func TestLoad(t *testing.T) {
	testtools.NeedRoot(t)
	paths := engineImage(t)
	for name, place := range map[string]struct{ variable, transport string }{
		"docker": {"DOCKER_HOST", "docker-daemon"}, "containerd": {"CONTAINERD_ADDRESS", "containerd"},
	} {
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
			load("load", "--into", name, paths["tar.zst"])
			again := load("load", "--into", name, paths["tar"])
			mustFind(t, again.stderr, "already")
			full := "varve-e2e:one"
			if name == "containerd" { // which calls images by their full names
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
