package ocilayout_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/testtools"
)

// TestDiskFull writes on a file system of 256 KiB, and on one without inodes.
func TestDiskFull(t *testing.T) {
	testtools.NeedRoot(t)
	for _, options := range []string{"size=256k", "size=8m,nr_inodes=7"} {
		t.Run(options, func(t *testing.T) {
			steady(t)
			disk := t.TempDir()
			if err := unix.Mount("tmpfs", disk, "tmpfs", 0, options); err != nil {
				testtools.Lack(t, "leave to mount a tmpfs: %v", err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			existing := filepath.Join(disk, "existing")
			if err := os.Mkdir(existing, 0o755); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, disk)
			img := newImage("v1", newLayer(file("a", "a")), newLayer(file("b", "b")), bigLayer("c", 1<<20), newLayer(file("d", "d")))
			for _, out := range []string{existing, filepath.Join(disk, "new")} {
				_, err := ocilayout.WriteDir(t.Context(), img, out, ocilayout.Options{})
				if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), out) {
					t.Errorf("%v; want %v and the place", err, syscall.ENOSPC)
				}
				if after := snapshot(t, disk); after != before {
					t.Errorf("before:\n%safter:\n%s", before, after)
				}
			}
		})
	}
}
