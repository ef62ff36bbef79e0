//go:build amd64 || arm64

package userns

import (
	"context"
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

// collectFrom collects a new directory with the files of the names.
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
	return c.collect(written{merged: fd}, w)
}

// TestCollectBounds: what varve has to hold in memory of a tree is bounded whatever the
// limit of disk is.
func TestCollectBounds(t *testing.T) {
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

// TestCause: where what changed is not read to its end, why is what is told.
func TestCause(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	unread := failure(collectFrom(t, &collector{left: 1 << 40}, w, "a"))
	full := errors.New("no space left on device")
	limit := &sandbox.LimitError{Name: "x", Bound: sandbox.BoundDisk, Limits: sandbox.Limits{Disk: 1 << 20}}
	cut := errors.New("unexpected EOF")
	c := &conversation{step: &sandbox.Step{Name: "x"}, cfg: &config{}, output: &output{}}
	for name, q := range map[string]struct {
		rep  report
		err  error
		want string
	}{
		"all is well":                   {report{}, nil, ""},
		"no room for the layer":         {unread, full, "step x: no space left on device"},
		"too large a layer":             {unread, limit, "1 MiB of disk"},
		"nobody knows why":              {unread, nil, "not read to its end"},
		"the sandbox failed":            {report{Error: "it failed"}, cut, "step x: it failed"},
		"the program failed":            {report{ExitCode: 3}, cut, "exit code 3"},
		"it could not be read any more": {report{}, cut, "step x: unexpected EOF"},
	} {
		got := c.cause(context.Background(), q.rep, nil, q.err)
		if (got == nil) != (q.want == "") || got != nil && !strings.Contains(got.Error(), q.want) {
			t.Errorf("%s: %v, want %q", name, got, q.want)
		}
	}
}
