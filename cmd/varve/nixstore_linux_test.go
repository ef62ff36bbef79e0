package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/goldenstore"
	"github.com/varve-image/varve/internal/nixstore"
)

// importGolden puts the golden store into a Nix store, with the references that
// its files have.
func importGolden(t *testing.T, n *enginetest.NixStore) {
	t.Helper()
	root := t.TempDir()
	paths, err := goldenstore.Make(root)
	must(t, err)
	n.Run("nix-store", "--init")
	if out, err := exec.Command("cp", "-a", root+"/nix/store/.", n.Root()+"/nix/store/").CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	infos, err := nixstore.Scan(t.Context(), nixstore.ScanOptions{Root: root, Roots: paths})
	must(t, err)
	var b strings.Builder
	for _, info := range infos {
		fmt.Fprintf(&b, "%s\n\n%d\n", info.Path, len(info.References))
		for _, ref := range info.References {
			fmt.Fprintln(&b, ref)
		}
	}
	n.RunInput(b.String(), "nix-store", "--register-validity")
}

// plan returns the output of varve layers, run with a command that starts with args.
func plan(t *testing.T, cmd *exec.Cmd) []assemble.PlannedLayer {
	t.Helper()
	o := run(t, cmd)
	if o.code != 0 {
		t.Fatalf("%q: exit code %d: %s", cmd.Args, o.code, o.stderr)
	}
	var layers []assemble.PlannedLayer
	must(t, json.Unmarshal([]byte(o.stdout), &layers))
	return layers
}

// TestNixStore: the closure and the layers of a store that a real Nix keeps.
func TestNixStore(t *testing.T) {
	n := enginetest.Nix(t)
	importGolden(t, n)
	varve := shipped.get(t)
	image := []string{"--name", "golden", "--content", goldenstore.Path("app-1.0"), "--env", "PATHS=" + goldenstore.Path("names") + ":" + goldenstore.Path("openssl-3.0.14")}
	layers := append([]string{"layers", "--json"}, image...)

	inside := plan(t, n.Command(t.Context(), append([]string{varve}, layers...)...))
	var paths []string
	for _, l := range inside {
		paths = append(paths, l.Paths...)
	}
	slices.Sort(paths)
	closure := strings.Fields(n.Run("nix-store", "-qR", goldenstore.Path("app-1.0"), goldenstore.Path("names"), goldenstore.Path("openssl-3.0.14")))
	slices.Sort(closure)
	if !slices.Equal(paths, closure) {
		t.Errorf("the image has %q, and Nix says that the closure is %q", paths, closure)
	}

	// The same from outside, from each form in which Nix writes the closure, and
	// from the store paths alone.
	for name, text := range map[string]string{
		"dump": n.Run(append([]string{"nix-store", "--dump-db"}, closure...)...),
		"json": n.Run(append([]string{"nix", "path-info", "--json"}, closure...)...),
	} {
		put(t, filepath.Join(n.Home(), name), text, 0o644)
	}
	database := filepath.Join(n.Root(), "nix/var/nix/db/db.sqlite")
	for name, args := range map[string][]string{
		"root":         {"--root", n.Root()},
		"store root":   {"--store-root", n.Root()},
		"verified":     {"--root", n.Root(), "--verify-store"},
		"registration": {"--root", n.Root(), "--closure", "dump", "--verify-store"},
		"path-info":    {"--root", n.Root(), "--closure", "json", "--verify-store"},
		"searched":     {"--root", n.Root()},
	} {
		if name == "searched" {
			must(t, os.Rename(database, database+".off"))
		}
		cmd := exec.Command(varve, append(layers, args...)...)
		cmd.Dir = n.Home()
		got := plan(t, cmd)
		if name == "searched" {
			must(t, os.Rename(database+".off", database))
		}
		if fmt.Sprint(got) != fmt.Sprint(inside) {
			t.Errorf("%s: %v, want %v", name, got, inside)
		}
	}
	checkGoldenLayers(t, n, append([]string{varve, "build", "-o", "image.tar"}, image...), inside)
	checkRepaired(t, n, append([]string{varve}, append(layers, "--verify-store")...))
}

// goldenNixLayers are the digests of the layers that nixpkgs' streamer makes of
// the golden store once Nix has it.
var goldenNixLayers = map[string]string{
	"app-1.0":        "a92083694e2bd3d3670ce2994a189e119dea95fd9f2ca5be1bd3ebd869f90432",
	"libc-2.39":      "a7daf6b39dc03118e8a518c0292b4c4f0af3a4cf4e0b59a51a3a948f1c09bd3a",
	"openssl-3.0.14": "514d8a51c0907a16fb905d1bef2e15472ab8a38e3c895e58038881bf99029912",
	"names":          "34599921ec104fcecee2723c2297c8b936ad59da4aa0086eea4560a79928a58c",
}

// checkGoldenLayers builds an image and compares its store layers.
func checkGoldenLayers(t *testing.T, n *enginetest.NixStore, build []string, planned []assemble.PlannedLayer) {
	t.Helper()
	n.Run(build...)
	images, err := openImages(filepath.Join(n.Home(), "image.tar"))
	must(t, err)
	found := 0
	for i, l := range planned {
		for name, want := range goldenNixLayers {
			if !slices.Equal(l.Paths, []string{goldenstore.Path(name)}) {
				continue
			}
			found++
			if got := fmt.Sprintf("%x", sha256.Sum256(images[0].layers[i])); got != want {
				t.Errorf("the layer of %s is %s, want %s", name, got, want)
			}
		}
	}
	if found != len(goldenNixLayers) {
		t.Errorf("%d of %d layers in %v", found, len(goldenNixLayers), planned)
	}
}

// checkRepaired: a file that somebody has changed is found, also by Nix.
func checkRepaired(t *testing.T, n *enginetest.NixStore, verify []string) {
	t.Helper()
	file := n.Root() + goldenstore.Path("libc-2.39") + "/lib/libc.so.6"
	must(t, os.Chmod(file, 0o755))
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("?"), 700_000)
	must(t, err)
	must(t, f.Close())
	o := run(t, n.Command(t.Context(), verify...))
	if o.code != 4 || !strings.Contains(o.stderr, `libc-2.39" has files with the NAR hash`) || o.stdout != "" {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if o := run(t, n.Command(t.Context(), "nix-store", "--verify-path", goldenstore.Path("libc-2.39"))); o.code == 0 {
		t.Error("Nix finds nothing wrong with what was changed")
	}
}

// TestNixIsAsked: an ordinary user who may not read the database has Nix's
// programs ask the daemon. Without them the store is searched.
func TestNixIsAsked(t *testing.T) {
	n := enginetest.NixDaemon(t)
	varve := shipped.get(t)
	path := n.Run("nix-instantiate", "--eval", "--read-write-mode", "--expr", `builtins.toFile "outer" "see ${builtins.toFile "inner" "x"}"`)
	path = strings.Trim(strings.TrimSpace(path), `"`)
	layers := []string{varve, "layers", "--json", "--name", "x", "--env", "OUTER=" + path}
	want := plan(t, n.Command(t.Context(), layers...))
	if len(want) != 3 {
		t.Fatalf("layers %v, want two of store paths and the top one", want)
	}
	must(t, os.Chmod(n.Root()+"/nix/var/nix/db", 0o700))
	for name, test := range map[string]struct {
		env, note string
	}{
		"asked":    {"A=1", ""},
		"searched": {"PATH=/nonexistent", "the store paths are searched for references, since Nix cannot be asked for them: "},
	} {
		cmd := n.Command(context.Background(), append([]string{"env", test.env}, layers...)...)
		o := run(t, cmd)
		var got []assemble.PlannedLayer
		if o.code != 0 || json.Unmarshal([]byte(o.stdout), &got) != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: exit code %d, %s%s, want %v", name, o.code, o.stdout, o.stderr, want)
		}
		if strings.Contains(o.stderr, "searched") != (test.note != "") || !strings.Contains(o.stderr, test.note) {
			t.Errorf("%s: it says %q, want %q", name, o.stderr, test.note)
		}
	}
}
