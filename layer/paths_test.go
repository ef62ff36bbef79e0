package layer_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// listed is the layer of a list of paths: files, and directories where they end in a slash.
func listed(opts layer.Options, paths ...string) *layer.Layer {
	return layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			for _, p := range paths {
				e := &tree.Entry{Path: p, Type: tree.Regular, Mode: 0o644}
				if dir, ok := strings.CutSuffix(p, "/"); ok && dir != "" {
					e = tree.NewDir(dir, 0o755)
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}, opts)
}

// TestPathsRefused: what a caller calls an entry does not become bytes that lead out of the
// image, or that readers of tars do not agree on.
func TestPathsRefused(t *testing.T) {
	for kind, opts := range kinds {
		for _, path := range []string{
			"", "/", "/abs", "..", "../x", "a/../b", "a/..", "./a", "a/./b", "a/.", "a//b", "//", "a//", "nul\x00", "\x00",
		} {
			l := listed(opts, "a", path)
			var out bytes.Buffer
			if err := l.Write(context.Background(), &out); err == nil || !strings.Contains(err.Error(), "entry ") {
				t.Errorf("%s: %q is written: %v", kind, path, err)
			}
			if out.Len() > 0 {
				t.Errorf("%s: %q: %d bytes were written", kind, path, out.Len())
			}
			if _, err := l.Size(context.Background()); err == nil {
				t.Errorf("%s: a layer with %q has a size", kind, path)
			}
		}
	}
	writeLayer(t, listed(layer.Options{}, "./", "a", "...", "..b", "b.", ".c/", ".c/..d", "e\xff", "é", "-", "\\", "f\n"))
}

// TestPathsTwice: no two entries have one path, in whatever order they are.
func TestPathsTwice(t *testing.T) {
	for kind, opts := range kinds {
		for _, paths := range [][]string{
			{"a", "a"}, {"a/", "a"}, {"./", "./"}, {"b", "a", "b"}, {"a", "c", "b", "c"}, {"d/", "d/a", "e", "d/a"}, {"z", "a", "b", "a"},
		} {
			l := listed(opts, paths...)
			var out bytes.Buffer
			if err := l.Write(context.Background(), &out); err == nil || !strings.Contains(err.Error(), "is there twice") {
				t.Errorf("%s: %q is written: %v", kind, paths, err)
			}
			if out.Len() > 0 {
				t.Errorf("%s: %q: %d bytes were written", kind, paths, out.Len())
			}
		}
		// Another order than the canonical one is not an error.
		writeLayer(t, listed(opts, "z", "a", "m/x", "b", "a-b", "a/b", "m/"))
	}
}

// TestStorePathsTwice: a store layer has each path once, in whatever order they are.
func TestStorePathsTwice(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b/c", "a-b"} {
		if err := os.MkdirAll(filepath.Join(root, "nix/store", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, paths := range [][]string{{"b", "a", "b"}, {"a", "a"}, {"b", "a", "b/c"}, {"b/c", "b"}} {
		for i := range paths {
			paths[i] = "/nix/store/" + paths[i]
		}
		if _, err := layer.Store(paths, layer.StoreOptions{Root: root}).Info(context.Background()); err == nil || !strings.Contains(err.Error(), "is there twice") {
			t.Errorf("%q: %v", paths, err)
		}
	}
	writeLayer(t, layer.Store([]string{"/nix/store/b", "/nix/store/a", "/nix/store/a-b"}, layer.StoreOptions{Root: root}))
}
