package layer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// asNobody runs f without root's right to read everything, where there is one.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A thread's own id for files; setting it takes the capabilities along.
	if err := unix.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	defer unix.Setfsuid(0)
	f()
}

func TestUnreadable(t *testing.T) {
	for kind, opts := range kinds {
		root := smallTree(t)
		if err := os.Chmod(filepath.Dir(root), 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, "m-large")
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			_, err := layer.New(owned(root, 0, 1), opts).Info(context.Background())
			wantErrorNaming(t, err, path)
			if !errors.Is(err, os.ErrPermission) {
				t.Errorf("%s: the error is %v, want a permission error", kind, err)
			}
		})
	}
}

func TestDiskFull(t *testing.T) {
	testtools.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		testtools.Lack(t, "the right to mount a tmpfs (%v)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	root := smallTree(t)
	for kind, opts := range kinds {
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		if err := layer.New(owned(root, 0, 1), opts).Write(context.Background(), out); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: the error is %v, want ENOSPC", kind, err)
		}
		out.Close()
	}
}

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestNothingLeaks: neither descriptors nor goroutines, whatever the outcome.
func TestNothingLeaks(t *testing.T) {
	root := smallTree(t)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	broken := errors.New("broken")
	failing := writerFunc(func([]byte) (int, error) { return 0, broken })
	vanished := func() tree.Seq {
		return beforeEntry(owned(root, 0, 1)(), "m-large", func() { _ = os.Rename(root+"/m-large", root+"/gone") })
	}
	run := func() {
		for _, opts := range kinds {
			l := layer.New(owned(root, 0, 1), opts)
			_, _ = l.Info(canceled)
			_ = l.Write(context.Background(), failing)
			if err := l.Write(context.Background(), io.Discard); err != nil {
				t.Error(err)
			}
			_ = l.Write(canceled, io.Discard)
			if _, err := layer.New(vanished, opts).Info(context.Background()); err == nil {
				t.Error("a vanished file is not an error")
			}
			if err := os.Rename(root+"/gone", root+"/m-large"); err != nil {
				t.Error(err)
			}
		}
	}
	run()
	files, routines := openFiles(t), runtime.NumGoroutine()
	for range 10 {
		run()
	}
	if n := openFiles(t); n != files {
		t.Errorf("%d descriptors are open, %d were before", n, files)
	}
	for range 100 { // the last goroutines may be ending
		if runtime.NumGoroutine() <= routines {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines run, %d did before", runtime.NumGoroutine(), routines)
}

// peakHeap runs f and returns by how much the heap grew at most, in bytes, as
// seen each time that f calls look.
func peakHeap(f func(look func())) uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before, peak := stats.HeapAlloc, stats.HeapAlloc
	f(func() {
		runtime.GC()
		runtime.ReadMemStats(&stats)
		peak = max(peak, stats.HeapAlloc)
	})
	return peak - before
}

// manyNames makes a tree in which one file has n names, a hundred in a
// directory.
func manyNames(t *testing.T, n int) string {
	t.Helper()
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		dir := filepath.Join(root, fmt.Sprintf("dir-%d", i/100))
		if i%100 == 0 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Link(file, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestMemoryIsLimited: it grows neither with a file's size nor with the number
// of files.
func TestMemoryIsLimited(t *testing.T) {
	large := t.TempDir()
	if err := os.WriteFile(large+"/sparse", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large+"/sparse", 512<<20); err != nil {
		t.Fatal(err)
	}
	for name, root := range map[string]string{"large": large, "many": manyNames(t, 20_000)} {
		for kind, opts := range kinds {
			peak := peakHeap(func(look func()) {
				n := 0
				l := layer.New(func() tree.Seq {
					return func(yield func(*tree.Entry, error) bool) {
						for e, err := range owned(root, 0, 1)() {
							if n++; n%2000 == 1 {
								look()
							}
							if !yield(e, err) {
								return
							}
						}
					}
				}, opts)
				if err := l.Write(context.Background(), writerFunc(func(p []byte) (int, error) {
					if n++; n%100 == 1 {
						look()
					}
					return len(p), nil
				})); err != nil {
					t.Error(err)
				}
				look()
			})
			if peak > 8<<20 {
				t.Errorf("%s, %s: the heap grew by %d KiB", name, kind, peak>>10)
			}
		}
	}
}
