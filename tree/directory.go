package tree

import (
	"errors"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// directory is a directory in which a walk found files. It is open while the walk is in it, and
// again while files in it are opened.
type directory struct {
	// root is the walk's root, and path the directory's own path, which is root or below it.
	root, path string

	mu    sync.Mutex
	users int
	fd    int
	// file is the same, where the walk opened it.
	file *os.File
}

// above returns what a walk's root is in: nothing that has to be opened.
func above(root string) *directory {
	return &directory{root: root, fd: unix.AT_FDCWD, users: 1}
}

// in returns the path below the root of what is called name in the directory.
func (d *directory) in(name string) string {
	if len(d.path) <= len(d.root) {
		return name
	}
	return d.path[len(d.root)+1:] + "/" + name
}

// source returns the path on disk of what is called name in the directory.
func (d *directory) source(name string) string {
	if d.path == "" {
		return name // the root itself
	}
	return d.path + "/" + name
}

// acquire opens the directory, unless it is open, until release.
func (d *directory) acquire() (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users == 0 {
		rel := "."
		if d.path != d.root {
			rel = d.path[len(d.root)+1:]
		}
		fd, err := openBelow(d.root, rel, openPath|unix.O_DIRECTORY)
		if err != nil {
			return -1, err
		}
		d.fd = fd
	}
	d.users++
	return d.fd, nil
}

func (d *directory) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users--; d.users > 0 {
		return
	}
	// Nothing was written that closing could lose.
	if d.file != nil {
		_ = d.file.Close()
		d.file = nil
	} else {
		_ = unix.Close(d.fd)
	}
	d.fd = -1
}

// open opens one file in the directory, from there if it is open.
func (d *directory) open(name string) (int, error) {
	d.mu.Lock()
	isOpen := d.users > 0
	if isOpen {
		d.users++
	}
	d.mu.Unlock()
	if isOpen {
		defer d.release()
		return openAt(d.fd, name, openFile)
	}
	return openBelow(d.root, d.in(name), openFile)
}

// openFile opens files without waiting, should one be a FIFO by now.
const openFile = unix.O_RDONLY | unix.O_NONBLOCK

// openBelow opens what is at rel below the directory root without following
// a symlink on the way and without waiting for anything.
func openBelow(root, rel string, flags int) (int, error) {
	if rel == "." {
		return openAt(unix.AT_FDCWD, root, flags)
	}
	dir, err := openAt(unix.AT_FDCWD, root, openPath|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	return openInside(dir, rel, flags)
}

// openInside is openBelow for an open directory.
func openInside(root int, rel string, flags int) (int, error) {
	fd, err := openBeneath(root, rel, flags)
	if errors.Is(err, errors.ErrUnsupported) {
		return openStepwise(root, rel, flags)
	}
	return fd, err
}

// openStepwise is openInside, one directory after the other.
func openStepwise(root int, rel string, flags int) (int, error) {
	for dir := root; ; {
		first, rest, more := strings.Cut(rel, "/")
		next := flags
		if more {
			next = openPath | unix.O_DIRECTORY
		}
		fd, err := openAt(dir, first, next)
		if dir != root {
			unix.Close(dir)
		}
		if err != nil || !more {
			return fd, err
		}
		dir, rel = fd, rest
	}
}

func openAt(dir int, name string, flags int) (fd int, err error) {
	err = retryEINTR(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}
