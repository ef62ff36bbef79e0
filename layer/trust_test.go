package layer_test

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// stamped gives one of the entries another stamp.
func stamped(entries func() tree.Seq, path string, stamp int64) func() tree.Seq {
	return func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			for e, err := range entries() {
				if err == nil && e.Path == path {
					e.Stamp.Change = stamp
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// rewriteInSecret changes bytes of a file; its size and time stay. Only the
// change time shows it.
func rewriteInSecret(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return errors.Join(changes["is rewritten"](path), os.Chtimes(path, st.ModTime(), st.ModTime()))
}

// TestChangeInSecret: a file's own change time shows that it was rewritten, even
// where another file of the layer has a younger one: a clock that was set back
// must not hide it.
func TestChangeInSecret(t *testing.T) {
	for kind, opts := range kindsAndKept() {
		for name, young := range map[string]int64{"newest": 0, "not newest": math.MaxInt64} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				root := smallTree(t)
				l := layer.New(stamped(owned(root, 0, 1), "z-last", young), opts)
				if _, err := l.Info(context.Background()); err != nil {
					t.Fatal(err)
				}
				if err := l.Write(context.Background(), io.Discard); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond) // the clock of change times may be that coarse
				if err := rewriteInSecret(filepath.Join(root, "m-large")); err != nil {
					t.Fatal(err)
				}
				err := l.Write(context.Background(), io.Discard)
				want := "m-large" // the first of the files with younger change times
				if young > 0 {
					want = "the title"
				}
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "changed while the image was written") {
					t.Errorf("the error is %v, want one that names %q", err, want)
				}
			})
		}
	}
}

// TestChangeAndBack: a file that has another size while it is written, and is
// what it was when the layer is hashed once more.
func TestChangeAndBack(t *testing.T) {
	for kind, opts := range kinds {
		passes := 0
		l := layer.New(func() tree.Seq {
			passes++
			text := "text"
			if passes == 2 {
				text = strings.Repeat("longer", 5000)
			}
			return func(yield func(*tree.Entry, error) bool) {
				yield(&tree.Entry{Path: "file", Type: tree.Regular, Size: int64(len(text)), Content: tree.OpenFunc(func() (io.ReadCloser, error) {
					return io.NopCloser(strings.NewReader(text)), nil
				})}, nil)
			}
		}, opts)
		err := l.Write(context.Background(), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "changed while the image was written") {
			t.Errorf("%s: the error is %v", kind, err)
		}
	}
}
