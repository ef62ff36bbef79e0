package cache

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

// TestReadOnly: a cache on a file system that cannot be written serves what it
// has, and says where it could not be written.
func TestReadOnly(t *testing.T) {
	testtools.NeedRoot(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		testtools.Lack(t, "leave to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(disk, "cache")
	src, descs := newSource("hello", "more", strings.Repeat("x", 2<<20))
	writable := openStore(t, dir)
	if _, err := read(t, writable, descs[0], src.fetch(descs[0])); err != nil {
		t.Fatal(err)
	}
	var bad *DirError
	if _, err := read(t, writable, descs[2], src.fetch(descs[2])); !errors.As(err, &bad) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if names := left(t, dir); len(names) != 1 {
		t.Errorf("left are %q", names)
	}
	writable.Close() // otherwise the file system could not be made read-only
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	if got, err := read(t, s, descs[0], nil); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.Use(t.Context(), descs[0], "name", "", time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := read(t, s, descs[1], src.fetch(descs[1])); !errors.As(err, &bad) || !errors.Is(err, syscall.EROFS) {
		t.Errorf("another blob: %v", err)
	}
	if _, err := Open(t.Context(), filepath.Join(disk, "other")); !errors.As(err, &bad) || !errors.Is(err, syscall.EROFS) {
		t.Errorf("another cache: %v", err)
	}
}
