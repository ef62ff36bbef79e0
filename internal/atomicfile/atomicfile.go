// Package atomicfile writes files and directories that appear whole or not at
// all, in directories that other users may write to as well.
//
// A file is written without a name, or if the file system cannot do that, under
// a temporary name beside its own. Commit makes it durable and then gives it its
// name; until then whatever had the name keeps it. A process that is killed
// leaves nothing, or a temporary file that the next process to write the same
// file removes. A directory is always filled under a temporary name.
//
// Of the leftovers with such names, only those that belong to this user are removed,
// and a directory only if nobody else can have given it that name, or if it has a mode
// that is used for nothing else (owner.Leftover), or is empty. Temporary names cannot
// be guessed. Work is done in open directories, never by following a name twice.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/owner"
	"github.com/varve-image/varve/internal/regfile"
)

// File is a file that is being written.
type File struct {
	*os.File
	// dir is where the file is to be named base; nil for a pipe or a device, which
	// is written to directly.
	dir          *os.Root
	target, base string
	// temp is the file's present name in dir; empty for none.
	temp string
}

// Create begins a file that is to be named target. The caller must end it with
// Commit or Abort.
func Create(target string) (*File, error) {
	st, err := os.Stat(target)
	switch {
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("%q is a directory", target)
	case err == nil && !st.Mode().IsRegular():
		f, err := openSpecial(target)
		return &File{File: f, target: target}, err
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	dir, err := os.OpenRoot(dirOf(target))
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", target, regfile.Cause(err))
	}
	return create(dir, target)
}

// CreateIn is Create for a regular file that is to be named name below root.
func CreateIn(root *os.Root, name string) (*File, error) {
	target := filepath.Join(root.Name(), name)
	dir, err := root.OpenRoot(dirOf(name))
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", target, regfile.Cause(err))
	}
	return create(dir, target)
}

// create begins a file in dir; ending the file closes dir.
func create(dir *os.Root, target string) (*File, error) {
	_, base := filepath.Split(target)
	f := &File{dir: dir, target: target, base: base}
	reclaim(dir, base)
	var err error
	if f.File, err = unnamed(dir); err != nil {
		err = tryNames(base, f.begin)
	}
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("create %q: %w", target, regfile.Cause(err))
	}
	// The lock tells reclaim that the file is still in use. A file system without
	// locks only loses that.
	_, _, _ = flock.Try(f.File, flock.Exclusive)
	return f, nil
}

// begin makes the file with a temporary name and locks it.
func (f *File) begin(name string) error {
	file, err := f.dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	locked, _, err := flock.Try(file, flock.Exclusive)
	if err == nil && (!locked || removed(file)) {
		err = fs.ErrExist // it was taken for a leftover, or locked by someone who may only read it
	}
	if err != nil {
		_ = f.dir.Remove(name)
		file.Close()
		return err
	}
	f.File, f.temp = file, name
	return nil
}

// removed reports whether a file has lost its name.
func removed(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

// openSpecial opens a FIFO or a device for writing. Whoever writes to a name does not
// mean a FIFO that somebody else has made there, or a link to a device.
func openSpecial(target string) (*os.File, error) {
	info, err := os.Lstat(target)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		if dir, err := os.Stat(dirOf(target)); err != nil || !owner.Trusted(info) || !owner.Keeps(dir) {
			return nil, fmt.Errorf("%q is a link to what is not a regular file, and another user may have made it: name what it leads to", target)
		}
		return os.OpenFile(target, os.O_WRONLY, 0)
	}
	f, err := os.OpenFile(target, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	// Devices are root's responsibility, whoever owns them.
	if info, err = f.Stat(); err == nil && info.Mode()&fs.ModeDevice == 0 && !owner.Trusted(info) {
		err = fmt.Errorf("%q is a FIFO of another user's, %d: name another file", target, owner.Of(info))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// dirOf returns the directory of a file, as the kernel will find it: a ".." after a
// symlink is left for the kernel to resolve.
func dirOf(name string) string {
	if dir, _ := filepath.Split(name); dir != "" {
		return dir
	}
	return "."
}

// Commit makes the file durable and gives it its name. It closes the file in any
// case; after an error nothing is left of the file.
func (f *File) Commit() error {
	if f.dir == nil {
		return f.File.Close()
	}
	defer f.Abort()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %q: %w", f.target, err)
	}
	if err := f.rename(f.base); err != nil {
		return err
	}
	return syncNames(f.dir, f.target)
}

// CommitUnsynced is Commit for a file, made by CreateIn, that proves itself when it is read:
// after a loss of power it may be there with something else in it. base is the name that it
// gets in the directory that it was created in; that may be known only now.
func (f *File) CommitUnsynced(base string) error {
	defer f.Abort()
	return f.rename(base)
}

// rename gives the file the name base. Until then it has one that the next process to create the
// same file knows for a leftover, whatever base is.
func (f *File) rename(base string) error {
	if f.temp == "" {
		if err := tryNames(f.base, f.nameIt); err != nil {
			return fmt.Errorf("create %q: %w", f.target, regfile.Cause(err))
		}
	}
	if err := f.dir.Rename(f.temp, base); err != nil {
		return fmt.Errorf("create %q: %w", f.target, regfile.Cause(err))
	}
	f.temp = ""
	return nil
}

// nameIt gives the file, which has no name, a temporary one.
func (f *File) nameIt(name string) error {
	dir, err := f.dir.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := link(f.File, dir, name); err != nil {
		return err
	}
	f.temp = name
	return nil
}

// Abort closes the file and removes it, unless it was committed.
func (f *File) Abort() {
	if f.temp != "" {
		_ = f.dir.Remove(f.temp)
		f.temp = ""
	}
	f.File.Close()
	if f.dir != nil {
		f.dir.Close()
	}
}

// Unnamed opens a temporary file in dir that has no name and is gone when it is
// closed or the process ends. An empty dir means the system's directory for
// temporary files.
func Unnamed(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	if f, err := unnamedIn(dir); err == nil {
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

// syncNames makes the names in a directory durable, after target was given its own.
func syncNames(dir *os.Root, target string) error {
	d, err := dir.Open(".")
	if err == nil {
		err = syncDir(d)
		d.Close()
	}
	if err != nil {
		return fmt.Errorf("%q is complete, but may not survive a power failure: %w", target, err)
	}
	return nil
}

// Output returns a function that calls fill to write the file at path, which appears whole
// or not at all.
func Output(path string) func(fill func(io.Writer) error) error {
	return func(fill func(io.Writer) error) error {
		f, err := Create(path)
		if err != nil {
			return err
		}
		defer f.Abort()
		if err := fill(f.File); err != nil {
			return err
		}
		return f.Commit()
	}
}

// syncDir makes a directory's mode and the names in it durable, if the file system can.
func syncDir(d *os.File) error {
	err := d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
