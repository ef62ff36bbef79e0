//go:build amd64 || arm64

package worktree

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// collectFrom collects a new directory with files of these names.
func collectFrom(t *testing.T, c *collector, w io.Writer, names ...string) error {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := openat.Dir(-1, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer os.NewFile(uintptr(fd), dir).Close()
	if c.records, err = fakeroot.NewRecords(true); err != nil {
		t.Fatal(err)
	}
	return c.collect(Tree{Dir: fd}, w)
}

// TestCollectLimits: what varve holds of a tree in memory is limited, whatever the disk
// limit is.
func TestCollectLimits(t *testing.T) {
	for want, c := range map[string]*collector{
		"":                  {left: 1 << 40, text: sandbox.MaxText - 100, entries: sandbox.MaxEntries - 2},
		"are larger than":   {left: 1 << 40, text: sandbox.MaxText - 3},
		"more than 2000000": {left: 1 << 40, entries: sandbox.MaxEntries - 1},
		"limit of":          {left: 3*512 - 1},
	} {
		err := collectFrom(t, c, io.Discard, "a", "b")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestUnread: that the changes are no longer being read is an error of its own.
func TestUnread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	if err := collectFrom(t, &collector{left: 1 << 40}, w, "a"); !errors.Is(err, ErrUnread) {
		t.Errorf("error %v, want %v", err, ErrUnread)
	}
}
