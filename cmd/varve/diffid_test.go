package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/internal/hostile"
)

// TestDiffIDs: a config with a wrong diffID for a layer is detected by every
// command that reads the layer, even to pass it on as it is.
func TestDiffIDs(t *testing.T) {
	const lie = "config that claims the layer of another image"
	for _, c := range []struct {
		name   string
		args   []string
		passes bool
	}{
		{name: "build to an archive", args: []string{"build", "--name", "x", "--from", "lie", "--copy", "file", "-q", "-o", "out/a.tar"}},
		{name: "build to a layout", args: []string{"build", "--name", "x", "--from", "lie", "--copy", "file", "-q", "-o", "oci:out/a"}},
		{name: "stream", args: []string{"stream", "--name", "x", "--from", "lie", "--copy", "file"}},
		{name: "export to a directory", args: []string{"export", "lie", "-o", "out/tree/"}},
		{name: "export to a tar", args: []string{"export", "lie", "-o", "out/a.tar"}},
		{name: "copy to an archive", args: []string{"copy", "-q", "lie", "docker-archive:out/a.tar:x:1"}},
		{name: "copy to standard output", args: []string{"copy", "-q", "lie", "docker-archive:-:x:1"}},
		{name: "merge", args: []string{"merge", "lie", "-o", "out/a.tar"}},
		{name: "copy to a layout", args: []string{"copy", "-q", "lie", "oci:out/a:1"}},
		{name: "copy to a layout's archive", args: []string{"copy", "-q", "lie", "oci-archive:out/a:1"}},
		{name: "index", args: []string{"index", "-q", "lie", "-o", "oci:out/a:1"}},
		{name: "inspect", args: []string{"inspect", "lie"}},
		{name: "inspect --raw", args: []string{"inspect", "--raw", "lie"}, passes: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := openDir(t, "")
			makeDirs(t, filepath.Join(dir, "out"))
			put(t, filepath.Join(dir, "file"), "added", 0o644)
			for _, layout := range hostile.LayoutCases() {
				if layout.Name == lie {
					writeEntries(t, filepath.Join(dir, "lie"), layout.Files)
				}
			}
			o := run(t, varve(t, dir, c.args...))
			if c.passes {
				if o.code != 0 {
					t.Fatalf("exit code %d: %s", o.code, o.stderr)
				}
				return
			}
			if o.code != 4 {
				t.Errorf("exit code %d, want 4", o.code)
			}
			mustFind(t, o.stderr, hostile.Digest(hostile.Image()[0]), hostile.Digest(hostile.Image()[1]))
			if left, err := os.ReadDir(filepath.Join(dir, "out")); err != nil || len(left) > 0 {
				t.Errorf("left in out: %v, %v", left, err)
			}
		})
	}
}
