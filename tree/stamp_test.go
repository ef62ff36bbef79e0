package tree

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/regfile"
)

// TestStamps: a change time that may be a mere copy of the modification time is none.
func TestStamps(t *testing.T) {
	const device = 1
	known := stamps{device: regfile.Passed}
	for name, tt := range map[string]struct{ change, mod, want int64 }{
		"an image's": {1e9, 1e9, UnknownChange},
		"a store's":  {7e9 + 5, 1e9, 7e9 + 5},
		"fresh":      {7e9 + 5, 7e9 + 5, 7e9 + 5},
	} {
		st := unix.Stat_t{Dev: device, Ino: 2, Ctim: unix.NsecToTimespec(tt.change), Mtim: unix.NsecToTimespec(tt.mod)}
		if got, want := known.of(unix.AT_FDCWD, "f", &st), (Stamp{Device: device, Inode: 2, Change: tt.want, ModTime: tt.mod}); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if UnknownChange != math.MaxInt64 {
		t.Error("an unknown time is not after all others")
	}
	var st unix.Stat_t
	s := stampOfOpen(-1, &st)
	if s.Change != UnknownChange {
		t.Errorf("of a file system that cannot be looked at: %v", s)
	}
}

// TestStampsOfTree: files of this machine have their change times.
func TestStampsOfTree(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range FromDir(dir, DirOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == Regular && (e.Stamp.Change == UnknownChange || e.Stamp.Change == 0 || e.Stamp.Inode == 0) {
			t.Errorf("%s: %v", e.Path, e.Stamp)
		}
	}
	known := stamps{}
	st := unix.Stat_t{Dev: 1, Ino: 2, Ctim: unix.NsecToTimespec(5), Mtim: unix.NsecToTimespec(5)}
	if s := known.of(unix.AT_FDCWD, filepath.Join(dir, "missing"), &st); s.Change != UnknownChange || len(known) > 0 {
		t.Errorf("a file that is not there: %v, %v", s, known)
	}
}
