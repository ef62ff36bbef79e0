package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is a directory that is being filled.
type Dir struct {
	// Path is where it is meanwhile: beside its target, and only this user may
	// enter it.
	Path   string
	target string
	lock   *os.File
}

// CreateDir begins a directory that is to be called target, where there must
// be nothing or an empty directory. What it is given must be ended by Commit
// or Abort.
func CreateDir(target string) (*Dir, error) {
	target, err := vacant(target)
	if err != nil {
		return nil, err
	}
	reclaim(target)
	d := &Dir{Path: tempName(target), target: target}
	if err := os.Mkdir(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("create %q: %w", target, cause(err))
	}
	if err = os.Chmod(d.Path, 0o700); err == nil { // whatever the umask
		d.lock, err = os.Open(d.Path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create %q: %w", target, cause(err)), os.Remove(d.Path))
	}
	// As for files, see Create.
	_ = unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if !sameFile(d.lock, d.Path) { // another process took it for a leftover
		d.lock.Close()
		return CreateDir(target)
	}
	return d, nil
}

// vacant returns the name of a directory that there can be at target, without
// a slash at its end.
func vacant(target string) (string, error) {
	name := strings.TrimRight(target, "/")
	if name == "" || name == "." || strings.HasSuffix(name, "/.") || name == ".." || strings.HasSuffix(name, "/..") {
		return "", fmt.Errorf("%q has no name of its own that it could be given when it is complete: name a directory in it", target)
	}
	st, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return name, nil
	case err != nil:
		return "", err
	case !st.IsDir():
		return "", fmt.Errorf("%q exists and is not a directory", name)
	}
	list, err := readNames(name)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%q exists and is not empty: remove it, or name another directory", name)
	}
	return name, err
}

func sameFile(f *os.File, name string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(name)
	return err == nil && os.SameFile(open, named)
}

// Commit makes the directory with all that is in it durable and gives it its
// name. After an error nothing is left of it.
func (d *Dir) Commit() error {
	defer d.Abort()
	if err := syncAll(d.lock); err != nil {
		return fmt.Errorf("write %q: %w", d.target, err)
	}
	// This replaces an empty directory, which os.Rename does not.
	if err := unix.Rename(d.Path, d.target); err != nil {
		return fmt.Errorf("create %q: %w", d.target, err)
	}
	d.Path = ""
	return SyncDir(dirOf(d.target))
}

// Abort removes the directory with all that is in it, unless it was committed.
func (d *Dir) Abort() {
	if d.Path != "" {
		removeAll(d.Path)
		d.Path = ""
	}
	d.lock.Close()
}

// removeAll removes what is at name, which nobody else writes to, whatever the modes of
// its directories are.
func removeAll(name string) {
	if err := os.RemoveAll(name); errors.Is(err, fs.ErrPermission) {
		allow(unix.AT_FDCWD, name)
		_ = os.RemoveAll(name)
	}
}

// allow makes the directory called name in dir, and all below it, such that
// its owner may do anything in it.
func allow(dir int, name string) {
	_ = unix.Fchmodat(dir, name, 0o700, 0)
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), filepath.Base(name))
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			allow(fd, name)
		}
	}
}
