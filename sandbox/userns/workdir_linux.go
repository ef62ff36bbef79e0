//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// workPrefix begins the names of working directories.
const workPrefix = ".varve-step-"

// workDir is the directory that a step's tree is unpacked in. A lock on it says
// that it is in use.
type workDir struct {
	path string
	file *os.File
}

// newWorkDir makes a working directory in temp for the ids.
func newWorkDir(temp string, ids *identities) (*workDir, error) {
	for {
		dir, err := tryWorkDir(temp)
		if err == errRaced {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("make a directory for its tree: %w", err)
		}
		if ids.others {
			if err := dir.file.Chown(ids.uid, ids.gid); err != nil {
				return nil, errors.Join(err, dir.remove())
			}
		}
		return dir, nil
	}
}

// errRaced says that another process took a directory for a left one before it
// was locked.
var errRaced = errors.New("raced")

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

// lockWorkDir opens and locks a directory. One that is locked, or that is gone
// once it is locked, is errRaced.
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

// remove takes the directory away. What is in it may be closed to this user by
// its modes, and is not for root to walk through.
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

// reclaim removes the directories of this user that killed processes left in
// temp: those that nobody has locked.
func reclaim(temp string) {
	entries, err := os.ReadDir(temp)
	if err != nil {
		return // which making one will tell
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), workPrefix) {
			continue
		}
		path := filepath.Join(temp, e.Name())
		if !ownedByUs(path) {
			continue
		}
		if dir, err := lockWorkDir(path); err == nil {
			_ = dir.remove() // the next one tries again
		}
	}
}

func ownedByUs(path string) bool {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return false
	}
	uid := os.Geteuid()
	if int(st.Uid) == uid {
		return true
	}
	ids, err := chooseIDs(true)
	return err == nil && int(st.Uid) == ids.uid
}
