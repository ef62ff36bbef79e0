package sandbox_test

import (
	"io"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// TestEntrySize: the result is the size of an entry in a layer, or one block more.
func TestEntrySize(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct{ path, link, value int }{
		{1, 0, 0}, {98, 0, 0}, {99, 100, 0}, {101, 101, 0}, {470, 0, 0}, {1000, 0, 0}, {4095, 4095, 0}, {10, 4095, 0}, {10, 0, 1}, {4095, 0, 65000},
	} {
		e := &tree.Entry{Path: text(c.path), Type: tree.Dir, Linkname: text(c.link)}
		if c.link > 0 {
			e.Type = tree.Symlink
		}
		xattrs := 0
		if c.value > 0 {
			e.Xattrs = map[string]string{"user.x": text(c.value)}
			xattrs = len("SCHILY.xattr.user.x") + c.value
		}
		w := layer.NewWriter(io.Discard, layer.PAX, "")
		if err := w.WriteHeader(e); err != nil {
			t.Fatal(err)
		}
		size := w.Size()
		if got := sandbox.EntrySize(c.path, c.link, xattrs); got < size || got > size+512 {
			t.Errorf("%+v: %d bytes, in a layer %d", c, got, size)
		}
	}
}
