package flock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

const name = ".lock"

func openRoot(t *testing.T, mode os.FileMode) *os.Root {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// TestOneAtATime: exclusive locks exclude each other although their file comes and goes.
func TestOneAtATime(t *testing.T) {
	root := openRoot(t, 0o755)
	var inside atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				l, err := Take(t.Context(), root, name, Exclusive, "x")
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				inside.Add(-1)
				l.Release()
			}
		})
	}
	all.Wait()
	if _, err := root.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

// TestShared: many processes can hold a shared lock, which excludes an exclusive one.
func TestShared(t *testing.T) {
	root := openRoot(t, 0o755)
	for range 2 {
		l, err := Take(t.Context(), root, name, Shared, "x")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Take(short, root, name, Exclusive, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside shared ones: %v", err)
	}
}

// TestTryTake: whoever does not wait gets the lock at once, or an error.
func TestTryTake(t *testing.T) {
	root := openRoot(t, 0o755)
	shared, err := Take(t.Context(), root, name, Shared, "x")
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if _, err := TryTake(root, name, Exclusive, "it is busy"); !errors.As(err, &busy) || err.Error() != "it is busy" {
		t.Errorf("beside a shared one: %v", err)
	}
	shared.Release()
	l, err := TryTake(root, name, Exclusive, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryTake(root, name, Shared, "x"); !errors.As(err, &busy) {
		t.Errorf("beside an exclusive one: %v", err)
	}
	l.Release()
}

// TestWaits: a wait is reported after a second and ends.
func TestWaits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	var open [2]*os.File
	for i := range open {
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open[i] = f
	}
	if locked, known, err := Try(open[0], Exclusive); !locked || !known || err != nil {
		t.Fatalf("%v, %v, %v", locked, known, err)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var told []string
		ctx := WithNotice(t.Context(), func(what string) { told = append(told, what+" "+time.Since(began).String()) })
		var busy *BusyError
		if err := wait(ctx, open[1], Shared, "it is busy"); !errors.As(err, &busy) || !strings.Contains(err.Error(), "it is busy") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != Patience {
			t.Errorf("gave up after %v", took)
		}
		if !slices.Equal(told, []string{"it is busy 1s"}) {
			t.Errorf("told %q", told)
		}
	})
}

// TestWhoMayLock: whoever can write to a lock's directory can open its file.
func TestWhoMayLock(t *testing.T) {
	for dir, want := range map[os.FileMode]os.FileMode{
		0o700: 0o600, 0o755: 0o600, 0o775: 0o660, 0o777: 0o666, 0o777 | os.ModeSticky: 0o666,
	} {
		root := openRoot(t, dir)
		l, err := Take(t.Context(), root, name, Shared, "x")
		if err != nil {
			t.Fatal(err)
		}
		if info, err := root.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("directory %v: lock %v, %v; want %v", dir, info.Mode(), err, want)
		}
		l.Release()
	}
}

// TestPlanted: what is not a lock is not opened as one.
func TestPlanted(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	for what, plant := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(other, path) },
		"fifo":      func(path string) error { return unix.Mkfifo(path, 0o666) },
		"directory": func(path string) error { return os.Mkdir(path, 0o777) },
	} {
		root := openRoot(t, 0o755)
		if err := plant(filepath.Join(root.Name(), name)); err != nil {
			t.Fatal(err)
		}
		if _, err := Take(t.Context(), root, name, Exclusive, "x"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Lstat(other); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was made through it: %v", what, err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	root := openRoot(t, 0o777|os.ModeSticky)
	path := filepath.Join(root.Name(), name)
	if err := errors.Join(os.WriteFile(path, nil, 0o666), os.Chown(path, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), root, name, Exclusive, "x"); err == nil || !strings.Contains(err.Error(), "another user, 12345") {
		t.Errorf("another user's: %v", err)
	}
}
