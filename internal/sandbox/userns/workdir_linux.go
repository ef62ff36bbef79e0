//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/owner"
	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// workPrefix begins the names of working directories.
const workPrefix = ".varve-step-"

// workDir is the directory that a step's tree is unpacked in. A lock on it shows that it is
// in use.
type workDir struct {
	path string
	file *os.File
}

// newWorkDir makes a working directory in temp for the ids.
func newWorkDir(temp string, ids *identities) (dir *workDir, err error) {
	for range attempts {
		if dir, err = tryWorkDir(temp); err != errRaced {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make a directory for its tree: %w", err)
	}
	err = dir.file.Chmod(owner.TempDir)
	if err == nil && ids.others {
		err = dir.file.Chown(ids.uid, ids.gid)
	}
	if err != nil {
		return nil, errors.Join(err, dir.remove())
	}
	return dir, nil
}

// attempts is how often making a working directory is tried when another process removes
// it.
const attempts = 10

// errRaced says that another process removed a directory as left over before it was locked,
// or put another one in its place.
var errRaced = errors.New("it was taken away")

func tryWorkDir(temp string) (*workDir, error) {
	path, err := os.MkdirTemp(temp, workPrefix)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	dir, err := lockWorkDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errRaced
	}
	return dir, err
}

// lockWorkDir opens and locks a directory of this user's. If it belongs to another user, is
// locked, or is gone once it is locked, the error is errRaced.
func lockWorkDir(path string) (*workDir, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errRaced
	}
	opened, err := f.Stat()
	if err == nil && !ownedByUs(opened) {
		err = os.ErrPermission
	}
	if err == nil {
		var now os.FileInfo
		if now, err = os.Lstat(path); err == nil && !os.SameFile(opened, now) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		f.Close()
		return nil, errRaced
	}
	return &workDir{path, f}, nil
}

// identity distinguishes the directory from others.
func (d *workDir) identity() (dev, ino uint64, err error) {
	var st unix.Stat_t
	err = unix.Fstat(int(d.file.Fd()), &st)
	return st.Dev, st.Ino, err
}

// open returns a path to the directory for a process that has it open, whatever its name
// refers to by now.
func (d *workDir) open() string { return openat.Path(int(d.file.Fd())) }

// remove deletes the directory. Its content may be closed to this user by its modes, and is
// not safe for root to walk through.
func (d *workDir) remove() error {
	defer d.file.Close()
	err := os.Remove(d.path)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	ids, err := chooseIDs(true)
	if err == nil {
		err = emptyWorkDir(d, ids)
	}
	if err != nil {
		return fmt.Errorf("remove %q: %w", d.path, err)
	}
	return os.Remove(d.path)
}

// reclaim removes the directories of this user that killed processes left in temp: those
// that are not locked.
func reclaim(temp string) {
	around, err := os.Stat(temp)
	if err != nil {
		return // creating one will report this
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), workPrefix) {
			continue
		}
		dir, err := lockWorkDir(filepath.Join(temp, e.Name()))
		if err != nil {
			continue
		}
		if info, err := dir.file.Stat(); err == nil && owner.Leftover(info, around) {
			_ = dir.remove() // the next one tries again
		} else {
			_ = unix.Rmdir(dir.path) // a full one may belong to another user, and stays
			dir.file.Close()
		}
	}
}

// ownedByUs reports whether a directory belongs to this user, or to the id that its steps
// get.
func ownedByUs(info os.FileInfo) bool {
	if owner.Ours(info) {
		return true
	}
	ids, err := chooseIDs(true)
	return err == nil && owner.Of(info) == ids.uid
}
