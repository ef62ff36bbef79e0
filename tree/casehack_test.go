package tree

import (
	"path/filepath"
	"strings"
	"testing"
)

// Names in a store path lose the suffix that Nix gives them on macOS, and are
// sorted without it. Other names keep it.
func TestStoreNames(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"README~nix~case~hack~1": "1", "b": "2", "Dir~nix~case~hack~2/a~nix~case~hack~1": "3", "dir/x": "4"})
	const want = `. directory 0755 0:0 ""
Dir directory 0755 0:0 ""
Dir/a regular file 0644 0:0 "" 3
README regular file 0644 0:0 "" 1
b regular file 0644 0:0 "" 2
dir directory 0755 0:0 ""
dir/x regular file 0644 0:0 "" 4
`
	if got := listing(t, FromDir(dir, DirOptions{Store: true})); got != want {
		t.Errorf("got:\n%s", got)
	}
	entries, err := Collect(FromDir(dir, DirOptions{Store: true}))
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, func(yield func(*Entry, error) bool) { // opened again, by name
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}); got != want {
		t.Errorf("opened again:\n%s", got)
	}
	if got := listing(t, FromDir(dir, DirOptions{})); !strings.Contains(got, "README~nix~case~hack~1 ") {
		t.Errorf("outside of the store:\n%s", got)
	}
}

func TestStoreNamesCollide(t *testing.T) {
	for _, names := range [][]string{{"a", "a~nix~case~hack~1"}, {"~nix~case~hack~1"}} {
		dir := t.TempDir()
		for _, name := range names {
			writeFiles(t, dir, map[string]string{name: ""})
		}
		_, err := Collect(FromDir(dir, DirOptions{Store: true}))
		if err == nil || !strings.Contains(err.Error(), "another file's name") || !strings.Contains(err.Error(), filepath.Base(dir)) {
			t.Errorf("%q: %v", names, err)
		}
	}
}
