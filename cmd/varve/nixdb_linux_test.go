package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/debstore"
	"github.com/varve-image/varve/internal/testtools"
)

// graphPath is a path in exportReferencesGraph's JSON, without its hash and
// size, which varve has to find.
type graphPath struct {
	Path       string   `json:"path"`
	References []string `json:"references"`
}

// nixClosure makes a store below dir/root with Debian's Nix and the test's own
// paths, and dir/closure.json. The closure has dependencies first.
func nixClosure(t *testing.T, dir string) []graphPath {
	t.Helper()
	root := filepath.Join(dir, "root")
	if _, err := debstore.Make(context.Background(), root+"/nix/store", dir, []string{"nix-bin", "bash"}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "closure.json"))
	must(t, err)
	var closure struct{ Closure []graphPath }
	must(t, json.Unmarshal([]byte(strings.ReplaceAll(string(data), root, "")), &closure))
	put(t, root+nixLib+"/lib/libc.so", "libc", 0o444)
	put(t, root+nixApp+"/bin/app", nixLib+nixApp, 0o555)
	must(t, os.Symlink(nixLib, root+nixApp+"/lib"))
	paths := append(closure.Closure, graphPath{nixLib, []string{}}, graphPath{nixApp, []string{nixApp, nixLib}})
	data, err = json.Marshal(paths)
	must(t, err)
	put(t, filepath.Join(dir, "closure.json"), string(data), 0o644)
	return paths
}

// TestNixInContainer: in a container Nix finds the store that the database describes, for the
// base image and for the image on it: what it verifies, which paths refer to which, and what is
// garbage.
func TestNixInContainer(t *testing.T) {
	testtools.NeedRoot(t)
	testtools.Need(t, "dpkg-query")
	testtools.Need(t, "nix-store")
	dir := openDir(t, "")
	closure := nixClosure(t, dir)
	var contents []string
	for _, p := range closure {
		if p.Path != nixApp {
			contents = append(contents, p.Path)
		}
	}
	makeDirs(t, filepath.Join(dir, "merged"))
	for _, name := range []string{"bin", "lib", "lib64"} { // as Debian has them
		must(t, os.Symlink("usr/"+name, filepath.Join(dir, "merged", name)))
	}
	putSpec(t, filepath.Join(dir, "base.json"), map[string]any{
		"name": "varve-nix-base", "tag": "one", "copyToRoot": "merged", "contents": contents, "closure": "closure.json",
		"conflicts": "last", "presets": []string{"tmp", "nss"}, "maxLayers": 4, "includeNixDB": true,
		"config": map[string]any{"Env": []string{"PATH=/bin", "NIX_CONFIG=build-users-group ="}},
	})
	putSpec(t, filepath.Join(dir, "image.json"), map[string]any{
		"name": "varve-nix", "tag": "one", "fromImage": "base.tar", "closure": "closure.json", "includeNixDB": true,
		"config": map[string]any{"Cmd": []string{nixApp + "/bin/app"}},
	})
	root := filepath.Join(dir, "root")
	mustRun(t, dir, "build", "base.json", "--root", root, "-q", "-o", "base.tar")
	mustRun(t, dir, "build", "image.json", "--root", root, "-q", "-o", "a.tar")

	docker := engines.Docker(t)
	image, err := docker.Load(t.Context(), filepath.Join(dir, "a.tar"))
	must(t, err)
	defer docker.Remove(t.Context(), image)
	queries := []string{
		"--verify --check-contents", "--query --requisites " + nixApp, "--query --referrers " + nixLib,
		"--query --references " + nixApp, "--query --requisites /nix/var/nix/gcroots/docker/*", "--gc --print-dead",
	}
	var all []string
	for _, p := range closure {
		all = append(all, p.Path)
	}
	want := [][]string{nil, {nixApp, nixLib}, {nixApp}, {nixApp, nixLib}, slices.Sorted(slices.Values(all)), nil}
	script := "set -e"
	for _, q := range queries {
		script += "; nix-store " + q + "; echo --"
	}
	r, err := docker.Run(t.Context(), image, "/bin/bash", "-c", script)
	must(t, err)
	if r.ExitCode != 0 || strings.Contains(r.Stderr, "warning") || strings.Contains(r.Stderr, "error") {
		t.Fatalf("exit code %d: %s", r.ExitCode, r.Stderr)
	}
	for i, answer := range strings.SplitN(r.Stdout, "--\n", len(queries)) {
		answer = strings.TrimSuffix(answer, "--\n")
		if got := slices.Sorted(slices.Values(strings.Fields(answer))); !reflect.DeepEqual(got, want[i]) {
			t.Errorf("nix-store %s: %q, want %q", queries[i], got, want[i])
		}
	}
}

func putSpec(t *testing.T, name string, spec map[string]any) {
	t.Helper()
	data, err := json.Marshal(spec)
	must(t, err)
	put(t, name, string(data), 0o644)
}
