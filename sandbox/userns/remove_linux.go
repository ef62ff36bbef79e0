//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// removeBelow removes all that is in the directory top, and never follows a
// symlink.
func removeBelow(top int) error {
	r := &remover{top: top}
	for {
		if err := r.below(top, 0); err != nil || !r.again {
			return err
		}
		r.again = false
	}
}

// remover removes what is in a directory. What lies deep is first moved to its
// top, so that no tree can be deeper than there may be open files.
type remover struct {
	top   int
	moved int
	again bool // something was moved
}

// maxOpen is how deep a remover goes.
const maxOpen = 100

func (r *remover) below(dir, depth int) error {
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, r.remove(dir, name, depth))
	}
	return errors.Join(errs...)
}

func (r *remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if err != unix.EISDIR && err != unix.EPERM {
		return pathError("remove", name, err)
	}
	if depth == maxOpen {
		r.moved++
		r.again = true
		return pathError("move", name, unix.Renameat(dir, name, r.top, fmt.Sprintf(".deep-%d", r.moved)))
	}
	fd, err := openDir(dir, name)
	if err != nil {
		return pathError("open", name, err)
	}
	err = r.below(fd, depth+1)
	unix.Close(fd)
	if err != nil {
		return err
	}
	return pathError("remove", name, unix.Unlinkat(dir, name, unix.AT_REMOVEDIR))
}

func pathError(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: verb, Path: name, Err: err}
}

// readNames lists an open directory from its beginning.
func readNames(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, pathError("open", ".", err)
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}
