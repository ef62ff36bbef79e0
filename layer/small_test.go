package layer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// manySmall makes a tree of small files, of more than are read at once. The one that tests change
// is called m-large, as in the other tree.
func manySmall(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for i := range 200 {
		path := filepath.Join(root, fmt.Sprintf("file-%03d", i))
		if i == 100 {
			path = filepath.Join(root, "m-large")
		}
		if err := os.WriteFile(path, noise(1+i%5000), 0o644); err != nil {
			t.Fatal(err)
		}
		old(t, path)
	}
	return root
}

// smallChanges are the ways in which a small file may change meanwhile.
func smallChanges() map[string]func(path string) error {
	all := map[string]func(string) error{
		"shrinks":      func(path string) error { return os.Truncate(path, 1) },
		"is rewritten": func(path string) error { return os.WriteFile(path, make([]byte, 101), 0o644) },
		"is replaced": func(path string) error {
			if err := os.WriteFile(path+".new", make([]byte, 101), 0o644); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	}
	for name, change := range changes {
		if all[name] == nil {
			all[name] = change
		}
	}
	return all
}

// fixed returns the entries of a tree as they are now.
func fixed(t *testing.T, entries tree.Seq) func() tree.Seq {
	t.Helper()
	list, err := tree.Collect(entries)
	if err != nil {
		t.Fatal(err)
	}
	return func() tree.Seq { return tree.All(list) }
}

// TestSmallChangeBetween changes a small file of a list of entries between Info and Write.
func TestSmallChangeBetween(t *testing.T) {
	for name, change := range smallChanges() {
		t.Run(name, func(t *testing.T) {
			root := manySmall(t)
			path := filepath.Join(root, "m-large")
			l := layer.New(fixed(t, owned(root, 0, 1)()), kinds["tree"])
			if _, err := l.Info(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			wantErrorNaming(t, l.Write(context.Background(), io.Discard), path)
		})
	}
}

// TestSmallChangeBeforeRead changes a small file after it was looked at, before it is read, when
// the layer is hashed and when it is written.
func TestSmallChangeBeforeRead(t *testing.T) {
	for name, change := range smallChanges() {
		for kind, opts := range kinds {
			for _, pass := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, kind, pass), func(t *testing.T) {
					root := manySmall(t)
					path := filepath.Join(root, "m-large")
					n := 0
					l := layer.New(func() tree.Seq {
						n++
						return beforeEntry(owned(root, 0, 1)(), "m-large", func() {
							if n == pass {
								time.Sleep(20 * time.Millisecond) // the clock of change times may be that coarse
								if err := change(path); err != nil {
									t.Error(err)
								}
							}
						})
					}, opts)
					lookAgain(t, l, kind, pass)
					var out bytes.Buffer
					err := l.Write(context.Background(), &out)
					if info, infoErr := l.Info(context.Background()); err == nil && kind == "store" && pass == 1 && infoErr == nil {
						// The layer has the new content, and says so.
						if got := "sha256:" + sha(out.Bytes()); got != info.DiffID.String() || !bytes.Contains(out.Bytes(), make([]byte, 101)) {
							t.Errorf("the layer is %s, its Info says %s", got, info.DiffID)
						}
						return
					}
					if name == "vanishes" && err != nil && strings.Contains(err.Error(), root) {
						return // it may be missed in its directory first
					}
					wantErrorNaming(t, err, path)
				})
			}
		}
	}
}

// TestSmallFilesTogether: the tar is the same whatever is read together.
func TestSmallFilesTogether(t *testing.T) {
	root := manySmall(t)
	for kind, opts := range kinds {
		l := layer.New(owned(root, 0, 1), opts)
		var one strings.Builder
		w := layer.NewWriter(&one, opts.Dialect, opts.Prefix)
		for e, err := range owned(root, 0, 1)() {
			if err == nil {
				err = w.Write(context.Background(), e)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := writeLayer(t, l); string(got) != one.String() {
			t.Errorf("%s: the layer has other bytes than one that is written entry by entry", kind)
		}
	}
}
