package layer_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// changes are the ways in which a file may change meanwhile.
var changes = map[string]func(path string) error{
	"grows": func(path string) error {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("more")
		return err
	},
	"shrinks":    func(path string) error { return os.Truncate(path, 1<<20) },
	"is emptied": func(path string) error { return os.Truncate(path, 0) },
	"is rewritten": func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte("other"), 2<<20)
		return err
	},
	"is replaced": func(path string) error {
		if err := os.WriteFile(path+".new", bytes.Repeat([]byte("n"), 3<<20+5), 0o644); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	},
	"vanishes": os.Remove,
	"becomes a FIFO": func(path string) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return unix.Mkfifo(path, 0o644)
	},
	"becomes a symlink": func(path string) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink("z-last", path)
	},
	"becomes a directory": func(path string) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Mkdir(path, 0o755)
	},
}

// TestChangeBetween changes a file between Info and Write.
func TestChangeBetween(t *testing.T) {
	for name, change := range changes {
		for kind, opts := range kindsAndKept() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				root := smallTree(t)
				l := layer.New(owned(root, 0, 1), opts)
				if _, err := l.Info(context.Background()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond) // the clock of change times may be that coarse
				path := filepath.Join(root, "m-large")
				if err := change(path); err != nil {
					t.Fatal(err)
				}
				if name == "vanishes" {
					path = root // only the directory that it is missing from is still there
				}
				wantErrorNaming(t, l.Write(context.Background(), io.Discard), path)
			})
		}
	}
}

// TestChangeBeforeOpen changes a file after it was looked at, before it is
// opened, when the layer is hashed and when it is written.
func TestChangeBeforeOpen(t *testing.T) {
	for name, change := range changes {
		for kind, opts := range kinds {
			for _, pass := range []int{1, 2} {
				t.Run(name+"/"+kind, func(t *testing.T) {
					root := smallTree(t)
					path := filepath.Join(root, "m-large")
					n := 0
					l := layer.New(func() tree.Seq {
						n++
						return beforeEntry(owned(root, 0, 1)(), "m-large", func() {
							if n == pass {
								if err := change(path); err != nil {
									t.Error(err)
								}
							}
						})
					}, opts)
					wantErrorNaming(t, l.Write(context.Background(), io.Discard), path)
				})
			}
		}
	}
}

// beforeEntry calls f when the entry has been read from disk, before it is
// handed on.
func beforeEntry(entries tree.Seq, path string, f func()) tree.Seq {
	return func(yield func(*tree.Entry, error) bool) {
		for e, err := range entries {
			if err == nil && e.Path == path {
				f()
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// TestChangeWhileCopied changes a file after a part of it was written.
func TestChangeWhileCopied(t *testing.T) {
	for _, name := range []string{"grows", "shrinks", "is emptied", "is rewritten"} {
		for kind, opts := range kindsAndKept() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				root := smallTree(t)
				path := filepath.Join(root, "m-large")
				l := layer.New(owned(root, 0, 1), opts)
				if _, err := l.Info(context.Background()); err != nil {
					t.Fatal(err)
				}
				dst := writerFunc(func(p []byte) (int, error) {
					if change := changes[name]; change != nil && bytes.Contains(p, []byte("m-large")) {
						if err := change(path); err != nil {
							t.Error(err)
						}
					}
					return len(p), nil
				})
				wantErrorNaming(t, l.Write(context.Background(), dst), path)
			})
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func wantErrorNaming(t *testing.T, err error, path string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the error is %v, want one that names %q", err, path)
	}
}

// TestHarmlessChanges touch no byte of a layer: files of a store that is being
// optimised get links, and new change times with them.
func TestHarmlessChanges(t *testing.T) {
	for kind, opts := range kindsAndKept() {
		root := smallTree(t)
		l := layer.New(func() tree.Seq {
			return func(yield func(*tree.Entry, error) bool) {
				for e, err := range owned(root, 0, 1)() {
					if err == nil && strings.HasPrefix(e.Path, "new-link") {
						continue
					}
					if !yield(e, err) {
						return
					}
				}
			}
		}, opts)
		if _, err := l.Info(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if err := os.Link(filepath.Join(root, "m-large"), filepath.Join(root, "new-link")); err != nil {
			t.Fatal(err)
		}
		if err := l.Write(context.Background(), io.Discard); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
