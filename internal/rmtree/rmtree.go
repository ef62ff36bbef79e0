// Package rmtree removes directories whose content may be hostile: links, trees of
// any depth, modes that keep their owner out, other users at work in them.
//
// Guarantees: nothing outside the directory is touched, as every name is looked up in an
// open directory and no link is followed; only modes of this user's directories are
// changed; the number of files open at once has a constant limit.
package rmtree

import (
	"crypto/rand"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Below removes everything in the open directory top.
func Below(top int) error {
	r := &remover{top: top}
	for {
		if err := r.below(top, 0); err != nil || !r.again {
			return err
		}
		r.again = false
	}
}

// remover removes the content of a directory. What lies deep is first moved to its
// top, so that no tree is deeper than the number of files that may be open.
type remover struct {
	top   int
	again bool // something was moved
}

// maxOpen is how deep a remover goes.
const maxOpen = 100

func (r *remover) below(dir, depth int) error {
	allowOpen(dir)
	for {
		names, err := readNames(dir)
		var errs []error
		for _, name := range names {
			if err := r.remove(dir, name, depth); err != nil {
				errs = append(errs, err)
			}
		}
		if err != nil || len(errs) > 0 || len(names) < maxNames {
			return errors.Join(append(errs, err)...)
		}
	}
}

func (r *remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR && err != unix.EPERM {
		return pathError("remove", name, err)
	}
	fd, err := openDir(dir, name)
	if err != nil {
		return pathError("open", name, err)
	}
	defer unix.Close(fd)
	if depth == maxOpen {
		allowOpen(fd) // otherwise its owner could not give it another parent
		r.again = true
		return pathError("move", name, unix.Renameat(dir, name, r.top, ".deep-"+rand.Text()))
	}
	if err := r.below(fd, depth+1); err != nil {
		return err
	}
	return pathError("remove", name, unix.Unlinkat(dir, name, unix.AT_REMOVEDIR))
}

// openDir opens a directory, if need be after its mode was changed.
func openDir(dir int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0)
	if err == unix.EACCES && Allow(dir, name) == nil {
		fd, err = unix.Openat(dir, name, flags, 0)
	}
	return fd, err
}

// allowOpen is Allow for an open directory. A failure shows when something in the
// directory is removed.
func allowOpen(dir int) {
	var st unix.Stat_t
	if unix.Fstat(dir, &st) == nil && int(st.Uid) == os.Geteuid() && st.Mode&0o700 != 0o700 {
		_ = unix.Fchmod(dir, 0o700)
	}
}

func pathError(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: verb, Path: name, Err: err}
}

// maxNames is how many names are read at once: a directory may have more than fit
// into memory.
const maxNames = 10_000

// readNames lists the beginning of an open directory.
func readNames(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, pathError("open", ".", err)
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	names, err := f.Readdirnames(maxNames)
	if err == io.EOF {
		err = nil
	}
	return names, err
}
