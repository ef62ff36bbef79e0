package flock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/owner"
)

// Lock is a lock in the form of a file in a directory.
type Lock struct {
	dir  *os.Root
	name string
	file *os.File
	mode Mode
}

// attempts is how often Take starts again because the file was removed meanwhile.
const attempts = 1000

// Take takes the lock called name in a directory as soon as nobody else has it. It
// makes the file, which only those who can write to the directory can open. dir has
// to stay open until Release. what is as in BusyError.
//
// A file that is not regular, or that belongs to another user in a directory where
// names stay (owner.Keeps), is an error.
func Take(ctx context.Context, dir *os.Root, name string, mode Mode, what string) (*Lock, error) {
	return take(dir, name, mode, what, func(f *os.File) error { return wait(ctx, f, mode, what) })
}

// TryTake is Take without a wait: if somebody else has the lock, the error is a *BusyError.
func TryTake(dir *os.Root, name string, mode Mode, what string) (*Lock, error) {
	return take(dir, name, mode, what, func(f *os.File) error {
		locked, _, err := Try(f, mode)
		if err == nil && !locked {
			err = &BusyError{What: what, AtOnce: true}
		}
		return err
	})
}

// take takes a lock by a function that locks an open file.
func take(dir *os.Root, name string, mode Mode, what string, lock func(*os.File) error) (*Lock, error) {
	for range attempts {
		f, err := open(dir, name)
		if err != nil {
			return nil, err
		}
		if err := lock(f); err != nil {
			f.Close()
			return nil, err
		}
		if at, err := isAt(f, dir, name); err == nil && at {
			return &Lock{dir, name, f, mode}, nil
		}
		f.Close() // its previous holder removed it
	}
	return nil, &BusyError{What: what}
}

// Release ends a lock. The file of an exclusive one is removed.
func (l *Lock) Release() {
	if l.mode == Exclusive {
		_ = l.dir.Remove(l.name) // another process finds it and uses it
	}
	l.file.Close()
}

// open opens the file of a lock, and makes it if it does not exist.
func open(dir *os.Root, name string) (*os.File, error) {
	for range attempts {
		f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			if err := share(dir, f); err != nil {
				f.Close()
				return nil, err
			}
			return f, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if f, err = openExisting(dir, name); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, &fs.PathError{Op: "lock", Path: name, Err: errors.New("it keeps changing")}
}

// share lets everyone who can write to the directory open a new lock in it.
func share(dir *os.Root, f *os.File) error {
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	writers := info.Mode().Perm() & 0o022
	return f.Chmod(0o600 | writers | writers<<1) // for writing and for reading
}

// openExisting opens the file of a lock. If it was removed meanwhile, the error is
// fs.ErrNotExist.
func openExisting(dir *os.Root, name string) (*os.File, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	around, err := dir.Stat(".")
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("lock %q: it is not a regular file: remove it", name)
	}
	if owner.Keeps(around) && !owner.Trusted(info) {
		return nil, fmt.Errorf("lock %q: it belongs to another user, %d: remove it", name, owner.Of(info))
	}
	f, err := dir.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		f.Close()
		return nil, fs.ErrNotExist
	}
	return f, nil
}

// isAt reports whether a file still has its name.
func isAt(f *os.File, dir *os.Root, name string) (bool, error) {
	here, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := dir.Lstat(name)
	return err == nil && os.SameFile(here, there), err
}
