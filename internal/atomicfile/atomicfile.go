// Package atomicfile writes files and directories that appear whole or not at
// all.
//
// A file is written under no name, or where the file system cannot do that
// under a temporary one beside its own. Commit makes it safe on disk and then
// gives it its name; until then whatever had the name keeps it. A process that
// is killed leaves nothing, or a temporary file that the next one to write the
// same file takes away. A directory is always filled under a temporary name.
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

// File is a file that is being written.
type File struct {
	*os.File
	target string
	// temp is the file's present name, empty for none.
	temp string
	// direct says that the target is a pipe or a device, which is written to
	// as it stands.
	direct bool
}

// Create begins a file that is to be called target. What it is given must be
// ended by Commit or Abort.
func Create(target string) (*File, error) {
	st, err := os.Stat(target)
	switch {
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("%q is a directory", target)
	case err == nil && !st.Mode().IsRegular():
		f, err := os.OpenFile(target, os.O_WRONLY, 0)
		return &File{File: f, target: target, direct: true}, err
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	reclaim(target)
	f := &File{target: target}
	if f.File, err = unnamed(dirOf(target)); err != nil {
		if f.File, err = os.OpenFile(tempName(target), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
			return nil, fmt.Errorf("create %q: %w", target, cause(err))
		}
		f.temp = f.Name()
	}
	// The lock tells reclaim that somebody is still at work. A file system that
	// has no locks only loses that.
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if f.temp != "" && removed(f.File) { // another process took it for a leftover
		f.File.Close()
		return Create(target)
	}
	return f, nil
}

// removed tells that a file has lost its name.
func removed(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

// dirOf is the directory of a file, as the kernel will find it: a ".." after a
// symlink is left to it.
func dirOf(name string) string {
	if dir, _ := filepath.Split(name); dir != "" {
		return dir
	}
	return "."
}

// Commit makes the file durable and gives it its name. The file is closed in
// either case; after an error nothing is left of it.
func (f *File) Commit() error {
	if f.direct {
		return f.File.Close()
	}
	defer f.Abort()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %q: %w", f.target, err)
	}
	if f.temp == "" {
		name := tempName(f.target)
		if err := nameIt(f.File, name); err != nil {
			return fmt.Errorf("create %q: %w", f.target, cause(err))
		}
		f.temp = name
	}
	if err := os.Rename(f.temp, f.target); err != nil {
		return fmt.Errorf("create %q: %w", f.target, cause(err))
	}
	f.temp = ""
	return SyncDir(dirOf(f.target))
}

// cause is what went wrong with a file, without the temporary name that it has.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// Abort closes the file and removes it, unless it was committed.
func (f *File) Abort() {
	if f.temp != "" {
		os.Remove(f.temp)
		f.temp = ""
	}
	f.File.Close()
}

// Unnamed opens a temporary file in dir that has no name and is gone when it
// is closed, or when the process ends. An empty dir is the system's place for
// temporary files.
func Unnamed(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	if f, err := unnamed(dir); err == nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, "varve-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // not every file system can
		return fmt.Errorf("sync directory %q: %w", name, err)
	}
	return nil
}

const tempMark = ".varve-"

func tempPrefix(target string) string {
	dir, base := filepath.Split(target)
	return dir + "." + base + tempMark
}

func tempName(target string) string {
	return fmt.Sprintf("%s%d", tempPrefix(target), os.Getpid())
}

// reclaim removes the temporary files and directories of target that nobody works on any more.
func reclaim(target string) {
	dir, prefix := filepath.Split(tempPrefix(target))
	names, err := readNames(dirOf(target))
	if err != nil {
		return
	}
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		fd, err := unix.Open(dir+name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
			removeAll(dir + name)
		}
		unix.Close(fd)
	}
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
