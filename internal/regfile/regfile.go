// Package regfile opens files that a user or another file names, of which
// nothing is known yet: regular files only, and without waiting for anything. What
// is looked for below a root stays there.
package regfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Open opens a regular file for reading. It looks first, because opening a
// device may do something, and again, because what stands there may have
// changed; it never waits for a FIFO's other end. The error is an *fs.PathError.
func Open(name string) (*os.File, error) { return open(name, os.Stat, os.OpenFile) }

// OpenIn is Open of root and name together. No symlink below root may lead out
// of it, which an empty root does not ask for.
func OpenIn(root, name string) (*os.File, error) {
	if root == "" {
		return Open(name)
	}
	below, err := within(root, name)
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return open(below, dir.Stat, dir.OpenFile)
}

// Resolve returns the name without symlinks of the file that root and name
// together are, for who opens by name. No symlink below root may lead out of
// it. With an empty root name is returned as it is.
func Resolve(root, name string) (string, error) {
	if root == "" {
		return name, nil
	}
	below, err := within(root, name)
	return filepath.Join(root, below), err
}

// within follows the symlinks of name below root, as the kernel would, and
// returns where they lead: a name in root without any.
func within(root, name string) (string, error) {
	full := filepath.Join(root, name)
	top, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", err
	}
	to, err := filepath.EvalSymlinks(full)
	if err != nil {
		return "", err
	}
	// Both have to be absolute, or neither.
	if top, err = filepath.Abs(top); err != nil {
		return "", err
	}
	if to, err = filepath.Abs(to); err != nil {
		return "", err
	}
	below, err := filepath.Rel(top, to)
	if err == nil && !filepath.IsLocal(below) {
		err = &fs.PathError{Op: "open", Path: full, Err: fmt.Errorf("a symlink on the way leads to %q, out of %q, which is given as the root: put there what it leads to", to, root)}
	}
	return below, err
}

func open(name string, stat func(string) (fs.FileInfo, error), openFile func(string, int, fs.FileMode) (*os.File, error)) (*os.File, error) {
	info, err := stat(name)
	if err != nil {
		return nil, err
	}
	if err := want(name, info); err != nil {
		return nil, err
	}
	f, err := openFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = want(name, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func want(name string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("it is a %s; give a regular file", kind(info.Mode()))}
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}
