//go:build amd64 || arm64

package userns

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// removeBelow removes all that is in the directory dir, and never follows a
// symlink.
func removeBelow(dir int) error {
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, removeAt(dir, name))
	}
	return errors.Join(errs...)
}

func removeAt(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if err != unix.EISDIR && err != unix.EPERM {
		return pathError("remove", name, err)
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open", name, err)
	}
	err = removeBelow(fd)
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
