// Package regfile opens files that a user or another file names and that may be
// anything, or that are looked for by convention: regular files only, and without
// waiting for anything. A lookup below a root never leads out of it. It also knows which file systems
// keep the times at which files are changed.
package regfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Open opens a regular file for reading. It checks the type first, because opening
// a device may do something, and again afterwards, because the file may have
// changed; it never waits for a FIFO's other end. The error is an *fs.PathError.
func Open(name string) (*os.File, error) { return open(name, os.Stat, os.OpenFile) }

// OpenAt opens a regular file in dir for reading, as Open does; it does not follow
// a symlink of that name.
func OpenAt(dir *os.Root, name string) (*os.File, error) {
	before, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	f, err := open(name, dir.Lstat, dir.OpenFile)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("it changed while it was opened")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// UnfitError says that the file with a name cannot be read here.
type UnfitError struct {
	// TooLarge says that it is a regular file above the size limit.
	TooLarge bool
	reason   string
}

func (e *UnfitError) Error() string { return e.reason }

// IsTooLarge reports whether err says that a file is above the size limit.
func IsTooLarge(err error) bool {
	var unfit *UnfitError
	return errors.As(err, &unfit) && unfit.TooLarge
}

// IsMisnamed reports whether an error of opening a file is the fault of whoever named it:
// the file is missing or of the wrong kind.
func IsMisnamed(err error) bool {
	var unfit *UnfitError
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.As(err, &unfit)
}

// Cause returns what went wrong with a file, without its name, for messages that
// quote it themselves.
func Cause(err error) error {
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

// Read returns the content of a regular file of at most maxBytes, opened as Open
// does. It reads nothing, or little more than maxBytes, of a larger file. The error
// is an *fs.PathError.
func Read(name string, maxBytes int64) ([]byte, error) { return ReadIn("", name, maxBytes) }

// ReadIn is Read of root and name together, opened as OpenIn does.
func ReadIn(root, name string, maxBytes int64) ([]byte, error) {
	f, err := OpenIn(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var data []byte
	if info.Size() <= maxBytes { // the kernel's own files say 0 whatever they hold
		if data, err = io.ReadAll(io.LimitReader(f, maxBytes+1)); err != nil {
			return nil, err
		}
	}
	if info.Size() > maxBytes || int64(len(data)) > maxBytes {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: &UnfitError{true, fmt.Sprintf("it has more than %d bytes", maxBytes)}}
	}
	return data, nil
}

// OpenIn is Open of root and name together. No symlink below root may lead out of
// it; with an empty root there is no such check.
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

// Resolve returns the symlink-free name of the file that root and name together
// denote, for callers that open by name. No symlink below root may lead out of it.
// With an empty root, name is returned as it is.
func Resolve(root, name string) (string, error) {
	if root == "" {
		return name, nil
	}
	below, err := within(root, name)
	return filepath.Join(root, below), err
}

// within follows the symlinks of name below root, as the kernel would, and returns
// where they lead: a name in root without symlinks.
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
	return &fs.PathError{Op: "open", Path: name, Err: &UnfitError{false, fmt.Sprintf("it is a %s; give a regular file", kind(info.Mode()))}}
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}
