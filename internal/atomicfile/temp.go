package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/owner"
	"github.com/varve-image/varve/internal/rmtree"
)

const (
	tempMark = ".varve-"
	// maxBase is how many bytes of a name go into its temporary names: a name has
	// at most 255.
	maxBase = 200
	// tries is how many temporary names are tried. A name may exist already, or its
	// file may be taken for a leftover by other processes before it is locked.
	tries = 100
)

// tempPrefix returns the prefix of the temporary names for base.
func tempPrefix(base string) string {
	if len(base) > maxBase {
		base = strings.ToValidUTF8(base[:maxBase], "")
	}
	return "." + base + tempMark
}

// tryNames calls use with temporary names for base, until one is not taken.
func tryNames(base string, use func(name string) error) (err error) {
	for range tries {
		if err = use(tempPrefix(base) + rand.Text()[:10]); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return err
}

// reclaim removes the temporary files and directories for base in dir that no process
// works on any more.
func reclaim(dir *os.Root, base string) {
	d, err := dir.Open(".")
	if err != nil {
		return
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return
	}
	prefix := tempPrefix(base)
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			if strings.HasPrefix(name, prefix) {
				reclaimOne(dir, name, info)
			}
		}
		if err != nil {
			return
		}
	}
}

// reclaimOne removes a file or directory of this user's that nobody has locked. Another
// user who gave a file or an empty directory its name could have removed it as well.
func reclaimOne(dir *os.Root, name string, around fs.FileInfo) {
	info, err := dir.Lstat(name)
	if err != nil || !owner.Ours(info) || !info.Mode().IsRegular() && !info.IsDir() {
		return
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return
	}
	// Without locks nobody can tell who works on it.
	if locked, known, err := flock.Try(f, flock.Exclusive); !locked || !known || err != nil || !isAt(f, dir, name) {
		return
	}
	if owner.Leftover(info, around) {
		_ = rmtree.Below(int(f.Fd())) // the next process tries again
	}
	_ = dir.Remove(name) // a directory only if it is empty
}

// isAt reports whether a file still has its name.
func isAt(f *os.File, dir *os.Root, name string) bool {
	here, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := dir.Lstat(name)
	return err == nil && os.SameFile(here, there)
}
