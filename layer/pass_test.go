package layer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// TestPass: a layer that is written from what its first pass has shown has the bytes of one that is
// looked for again, also when a file has got another name in between.
func TestPass(t *testing.T) {
	root := manySmall(t)
	if err := os.Symlink("m-large", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	looked := 0
	l := layer.New(func() tree.Seq { looked++; return owned(root, 0, 1)() }, kinds["store"])
	mustInfo(t, l)
	first := writeLayer(t, l)
	second := writeLayer(t, l)
	if !bytes.Equal(first, second) || looked != 2 {
		t.Errorf("%d bytes, then %d; looked for %d times", len(first), len(second), looked)
	}
	l = layer.New(func() tree.Seq { looked++; return owned(root, 0, 1)() }, kinds["store"])
	mustInfo(t, l)
	if err := os.Link(filepath.Join(root, "m-large"), filepath.Join(t.TempDir(), "other name")); err != nil {
		t.Fatal(err)
	}
	if third := writeLayer(t, l); !bytes.Equal(first, third) || looked != 4 {
		t.Errorf("with another name: %d bytes, not %d; looked for %d times", len(third), len(first), looked)
	}
}

// TestPassIsLimited: a layer with many entries is looked for again, and one after it is not: what was
// kept of the first was freed.
func TestPassIsLimited(t *testing.T) {
	looked := 0
	entries := func(n int) func() tree.Seq {
		return func() tree.Seq {
			looked++
			return func(yield func(*tree.Entry, error) bool) {
				for i := range n {
					if !yield(tree.NewDir(fmt.Sprintf("dir-%07d", i), 0o755), nil) {
						return
					}
				}
			}
		}
	}
	for _, c := range []struct{ entries, want int }{{10_000, 2}, {10, 1}, {100_000, 2}, {10, 1}} {
		looked = 0
		l := layer.New(entries(c.entries), kinds["store"])
		mustInfo(t, l)
		if err := l.Write(context.Background(), io.Discard); err != nil {
			t.Fatal(err)
		}
		if looked != c.want {
			t.Errorf("%d entries were looked for %d times, want %d", c.entries, looked, c.want)
		}
	}
}
