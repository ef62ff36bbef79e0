package layer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// smallTree is a tree with files on both sides of what the kernel copies.
func smallTree(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for name, size := range map[string]int{"a-first": 100, "m-large": 3<<20 + 5, "m-larger": 64 << 10, "z-last": 600} {
		path := filepath.Join(root, name)
		if err := os.WriteFile(path, noise(size), 0o644); err != nil {
			t.Fatal(err)
		}
		old(t, path)
	}
	return root
}

// old sets a time long ago, so that a later write is visible on any clock.
func old(t testing.TB, path string) {
	t.Helper()
	then := time.Unix(1e9, 0)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

// kinds of layers whose files are on disk.
var kinds = map[string]layer.Options{
	"tree":  {Prefix: "./", Dialect: layer.GNU, Title: "the title"},
	"store": {Prefix: "/", Immutable: true, Title: "the title"},
}

// kindsAndKept are these, and a store layer that passes its entries on.
func kindsAndKept() map[string]layer.Options {
	all := maps.Clone(kinds)
	kept := all["store"]
	kept.Passed = new(layer.Passed)
	all["store, entries kept"] = kept
	return all
}

func TestInfoIsComputedOnce(t *testing.T) {
	root := smallTree(t)
	var passes atomic.Int32
	l := layer.New(func() tree.Seq {
		passes.Add(1)
		return owned(root, 0, 1)()
	}, kinds["store"])
	var group sync.WaitGroup
	infos := make([]layer.Info, 4)
	for i := range infos {
		group.Go(func() {
			var err error
			if infos[i], err = l.Info(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, info := range infos {
		if info != infos[0] || info.Size == 0 {
			t.Errorf("Info is %v, then %v", infos[0], info)
		}
	}
	if n := passes.Load(); n != 1 {
		t.Errorf("the files were read %d times", n)
	}
	writeLayer(t, l)
	if n := passes.Load(); n != 2 {
		t.Errorf("the files were read %d times for one Info and one Write", n)
	}
}

// TestDestinationsGetTheSame: whether the kernel copies into pipes and files, or
// buffers are used.
func TestDestinationsGetTheSame(t *testing.T) {
	root := smallTree(t)
	for kind, opts := range kinds {
		want := writeLayer(t, layer.New(owned(root, 0, 1), opts))
		for name, write := range map[string]func(*testing.T, *layer.Layer) []byte{
			"pipe": writeToPipe, "socket": writeToSocket, "file": writeToFile, "appending": writeAppending, "small writes": writeSmall,
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				if got := write(t, layer.New(owned(root, 0, 1), opts)); !bytes.Equal(got, want) {
					t.Errorf("got %d bytes, %s; want %d, %s", len(got), sha(got), len(want), sha(want))
				}
			})
		}
	}
}

func writeTo(t *testing.T, w io.Writer, l *layer.Layer) {
	t.Helper()
	if err := l.Write(context.Background(), w); err != nil {
		t.Error(err)
	}
}

func writeToPipe(t *testing.T, l *layer.Layer) []byte {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return readOther(t, r, w, l)
}

func writeToSocket(t *testing.T, l *layer.Layer) []byte {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	return readOther(t, os.NewFile(uintptr(fds[0]), "reader"), os.NewFile(uintptr(fds[1]), "writer"), l)
}

// readOther writes the layer at one end and reads it at the other.
func readOther(t *testing.T, r, w *os.File, l *layer.Layer) []byte {
	t.Helper()
	defer r.Close()
	var group sync.WaitGroup
	group.Go(func() {
		defer w.Close()
		writeTo(t, w, l)
	})
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	group.Wait()
	return got
}

func writeToFile(t *testing.T, l *layer.Layer) []byte { return writeOpened(t, l, 0) }

// writeAppending: the kernel does not copy into a file that is appended to.
func writeAppending(t *testing.T, l *layer.Layer) []byte { return writeOpened(t, l, os.O_APPEND) }

func writeOpened(t *testing.T, l *layer.Layer, flags int) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "out")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The layer is written at the file's offset, not at its start.
	if _, err := f.WriteString("before"); err != nil {
		t.Fatal(err)
	}
	writeTo(t, f, l)
	if _, err := f.WriteString("after"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(bytes.TrimPrefix(data, []byte("before")), []byte("after"))
}

func writeSmall(t *testing.T, l *layer.Layer) []byte {
	var out bytes.Buffer
	writeTo(t, struct{ io.Writer }{&out}, l)
	return out.Bytes()
}

func TestBrokenPipe(t *testing.T) {
	root := smallTree(t)
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			l := layer.New(owned(root, 0, 1), opts)
			if _, err := l.Info(context.Background()); err != nil {
				t.Fatal(err)
			}
			go func() {
				// It reads a little, then goes away.
				_, _ = io.ReadFull(r, make([]byte, 100))
				r.Close()
			}()
			if err := l.Write(context.Background(), w); !errors.Is(err, unix.EPIPE) {
				t.Errorf("the error is %v, want EPIPE", err)
			}
		})
	}
}

// TestFailingEntries: an error in the middle of the entries is returned, and the
// layer can be read again.
func TestFailingEntries(t *testing.T) {
	root := smallTree(t)
	broken, fail := errors.New("broken"), true
	l := layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			for e, err := range owned(root, 0, 1)() {
				if !yield(e, err) {
					return
				}
				if fail && e.Path == "m-large" {
					yield(nil, broken)
					return
				}
			}
		}
	}, kinds["tree"])
	if _, err := l.Info(context.Background()); !errors.Is(err, broken) {
		t.Errorf("Info gives %v", err)
	}
	var out bytes.Buffer
	if err := l.Write(context.Background(), &out); !errors.Is(err, broken) || out.Len() > 0 {
		t.Errorf("Write gives %v and writes %d bytes", err, out.Len())
	}
	fail = false
	writeLayer(t, l)
}

// endless is content that never ends by itself; cancel is called once it is read.
func endless(cancel func()) *tree.Entry {
	return &tree.Entry{Path: "endless", Type: tree.Regular, Size: 1 << 50, Content: tree.OpenFunc(func() (io.ReadCloser, error) {
		return io.NopCloser(readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })), nil
	})}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestCancel(t *testing.T) {
	for name, entries := range map[string]func(cancel func()) tree.Seq{
		"in a file": func(cancel func()) tree.Seq {
			return func(yield func(*tree.Entry, error) bool) { yield(endless(cancel), nil) }
		},
		"between entries": func(cancel func()) tree.Seq {
			return func(yield func(*tree.Entry, error) bool) {
				for i := 0; ; i++ {
					if i == 10 {
						cancel()
					}
					if !yield(&tree.Entry{Path: fmt.Sprint(i), Type: tree.Dir}, nil) {
						return
					}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			l := layer.New(func() tree.Seq { return entries(cancel) }, layer.Options{})
			if _, err := l.Info(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestCancelWrite cancels once the destination has got something, in each way
// of copying.
func TestCancelWrite(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "large")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 256<<20); err != nil {
		t.Fatal(err)
	}
	for kind, opts := range kinds {
		l := layer.New(owned(root, 0, 1), opts)
		info, err := l.Info(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var read int64
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = io.ReadFull(r, make([]byte, 10000))
				cancel()
				read, _ = io.Copy(io.Discard, r)
			}()
			err = l.Write(ctx, w)
			w.Close()
			<-done
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
			if read > info.Size/2 {
				t.Errorf("it wrote %d of %d bytes all the same", read, info.Size)
			}
		})
	}
}

func TestErrorsNameTheEntry(t *testing.T) {
	broken := errors.New("broken")
	for name, e := range map[string]*tree.Entry{
		"short": {Size: 3, Content: tree.OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("ab")), nil })},
		"long":  {Size: 1, Content: tree.OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("ab")), nil })},
		"broken": {Size: 1, Content: tree.OpenFunc(func() (io.ReadCloser, error) {
			return nil, fmt.Errorf("open %q: %w", "odd\nname", broken)
		})},
	} {
		e.Path, e.Type, e.Source = "odd\nname", tree.Regular, "/src/odd\nname"
		l := layer.New(func() tree.Seq {
			return func(yield func(*tree.Entry, error) bool) { yield(e, nil) }
		}, layer.Options{})
		_, err := l.Info(context.Background())
		if err == nil || !strings.Contains(err.Error(), `odd\nname"`) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
