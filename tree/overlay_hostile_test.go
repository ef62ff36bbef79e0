package tree

import (
	"fmt"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/hostile"
)

// TestOverlayHostile: bad layers are refused, with the entry and the reason;
// nothing of others lands outside the tree.
func TestOverlayHostile(t *testing.T) {
	for _, c := range hostile.LayerCases() {
		t.Run(c.Name, func(t *testing.T) {
			layers := memLayers(c.Tars...)
			o, err := OpenOverlay(t.Context(), layers, OverlayOptions{})
			wantClosed(t, layers)
			if wantError(t, err, c.Refused...) || o == nil {
				if n := len(err.Error()); n > 64<<10 {
					t.Errorf("the error has %d bytes", n)
				}
				return
			}
			if c.Refused != nil {
				t.Errorf("it is taken:\n%s", lines(t, o.Entries))
				return
			}
			checkTree(t, o.Entries)
			if got := lines(t, o.Entries); got != c.Tree {
				t.Errorf("got:\n%swant:\n%s", got, c.Tree)
			}
		})
	}
}

// lines prints a tree as hostile.Layers does.
func lines(t testing.TB, entries []*Entry) string {
	t.Helper()
	letters := map[Type]string{Regular: "-", Dir: "d", Symlink: "l", Char: "c", Block: "b", FIFO: "p"}
	var b strings.Builder
	for _, e := range entries[1:] {
		name := e.Path
		if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` {
			name = quoted
		}
		fmt.Fprintf(&b, "%s %s", letters[e.Type], name)
		switch e.Type {
		case Regular:
			fmt.Fprintf(&b, " %q", content(t, e))
		case Symlink:
			b.WriteString(" -> " + e.Linkname)
		case Char, Block:
			fmt.Fprintf(&b, " %d,%d", e.Devmajor, e.Devminor)
		}
		b.WriteString("\n")
	}
	return b.String()
}
