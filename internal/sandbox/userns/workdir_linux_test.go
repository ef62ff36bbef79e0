//go:build amd64 || arm64

package userns

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/varve-image/varve/internal/owner"
)

// TestReclaim: in a directory where others can rename our files, what a killed process left
// is removed: a directory with the mode of those in use, and an empty one that did not have
// that mode yet. One with another mode that is not empty may be any directory of ours, and
// stays, as does one that another process has locked.
func TestReclaim(t *testing.T) {
	temp := t.TempDir()
	if err := os.Chmod(temp, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct {
		name string
		mode fs.FileMode
		full bool
	}{
		{"new", 0o700, false},
		{"new-and-closed", 0o500, false},
		{"new-in-a-group", 0o700 | fs.ModeSetgid, false}, // inherited from its parent
		{"marked", owner.TempDir, false},
		{"in-use", owner.TempDir, false},
		{"precious", 0o700, true},
	} {
		path := filepath.Join(temp, workPrefix+d.name)
		err := os.Mkdir(path, 0o700)
		if d.full {
			err = errors.Join(err, os.WriteFile(filepath.Join(path, "file"), nil, 0o600))
		}
		if err = errors.Join(err, os.Chmod(path, d.mode)); err != nil {
			t.Fatal(err)
		}
	}
	used, err := lockWorkDir(filepath.Join(temp, workPrefix+"in-use"))
	if err != nil {
		t.Fatal(err)
	}
	defer used.file.Close()
	reclaim(temp)
	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{workPrefix + "in-use", workPrefix + "precious"}; !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
}
