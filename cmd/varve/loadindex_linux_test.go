package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// TestLoadIndex: an engine that keeps manifests gets an index with the images for all platforms, by
// its digest, without the layers that it has; another one says that it keeps images for one.
func TestLoadIndex(t *testing.T) {
	testtools.NeedRoot(t)
	dir := openDir(t, "")
	big := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(big) // never fails
	put(t, filepath.Join(dir, "big"), string(big), 0o644)
	put(t, filepath.Join(dir, "spec.yaml"), "name: varve-e2e-index\ntag: \"1\"\nlayers: [{copyToRoot: [big]}]\ncopyToRoot: ['file-${arch}']\n", 0o644)
	index := regexp.MustCompile(`"digest":\s*"(sha256:[0-9a-f]{64})"`)
	build := func(content string) (digest string) {
		for _, arch := range []string{"amd64", "arm64"} {
			put(t, filepath.Join(dir, "file-"+arch), content+" "+arch+"\n", 0o644)
		}
		must(t, os.RemoveAll(filepath.Join(dir, "layout")))
		mustRun(t, dir, "build", "spec.yaml", "--platform", "linux/amd64,linux/arm64", "--cache", "cache", "-q", "-o", "oci:layout")
		mustRun(t, dir, "copy", "--all", "oci:layout", "archive:"+filepath.Join(dir, "both.tar"), "--cache", "cache", "-q")
		data, err := os.ReadFile(filepath.Join(dir, "layout/index.json"))
		must(t, err)
		return index.FindStringSubmatch(string(data))[1] // it lists one
	}
	for name, place := range loadable() {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			with := func(args ...string) outcome {
				cmd := varve(t, dir, append(args, "--cache", "cache")...)
				cmd.Env = append(cmd.Env, place.variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
				return run(t, cmd)
			}
			digest := build("one " + name)
			o := with("load", "--all", "--into", place.into, "oci:layout")
			if name != "containerd" && (name != "docker" || !enginetest.Current()) {
				if o.code == 0 {
					t.Errorf("an engine for one platform takes an index: %s", o.stderr)
				}
				mustFind(t, o.stderr, "keeps images for one platform each", "--platform")
				return
			}
			mustFind(t, o.stderr, "index "+digest+" of linux/amd64, linux/arm64")
			if want := "varve-e2e-index@" + digest + "\n"; o.stdout != want {
				t.Errorf("printed %q, want %q", o.stdout, want)
			}
			mustFind(t, with("load", "--all", "--into", place.into, "oci:layout").stderr, "has index "+digest+" already")
			// Layers are compressed as in the layout, where that is known.
			mustFind(t, with("load", "--all", "--into", place.into, "both.tar").stderr, "has index "+digest+" already")
			digest = build("two " + name)
			o = with("load", "--all", "--into", place.into, "both.tar")
			mustFind(t, o.stderr, "index "+digest+" of linux/amd64, linux/arm64")
			if sent := regexp.MustCompile(`[0-9.]+ MB sent`).FindString(o.stderr); sent != "" {
				t.Errorf("the engine gets layers that it has: %s", sent)
			}
			for _, arch := range []string{"amd64", "arm64"} {
				out := filepath.Join(t.TempDir(), "out.tar")
				o := with("copy", place.transport+":varve-e2e-index:1", "--platform", "linux/"+arch, "docker-archive:"+out)
				if o.code != 0 {
					t.Fatalf("%s: exit code %d: %s", arch, o.code, o.stderr)
				}
				mustFind(t, mustRun(t, dir, "export", out, "-o", "-").stdout, "two "+name+" "+arch)
			}
		})
	}
}
