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

// Lock is a lock that is a file in a directory.
type Lock struct {
	dir  *os.Root
	name string
	file *os.File
	mode Mode
}

// attempts is how often Take starts anew because the file went away under its eyes.
const attempts = 1000

// Take takes the lock called name in a directory as soon as nobody else has it. It
// makes the file, which those can open who can write to the directory, and nobody
// else. dir has to be open until Release. what is as in BusyError.
//
// What is no regular file, or in a directory where names stay (owner.Keeps) belongs
// to another user, is an error.
func Take(ctx context.Context, dir *os.Root, name string, mode Mode, what string) (*Lock, error) {
	for range attempts {
		f, err := open(dir, name)
		if err != nil {
			return nil, err
		}
		if err := wait(ctx, f, mode, what); err != nil {
			f.Close()
			return nil, err
		}
		if at, err := isAt(f, dir, name); err == nil && at {
			return &Lock{dir, name, f, mode}, nil
		}
		f.Close() // whoever had it has removed it
	}
	return nil, &BusyError{what}
}

// Release ends a lock. The file of an exclusive one is removed.
func (l *Lock) Release() {
	if l.mode == Exclusive {
		_ = l.dir.Remove(l.name) // another one finds it and uses it
	}
	l.file.Close()
}

// open opens the file of a lock, which it makes if it is not there.
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

// share lets those open a new lock who can write to its directory.
func share(dir *os.Root, f *os.File) error {
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	writers := info.Mode().Perm() & 0o022
	return f.Chmod(0o600 | writers | writers<<1) // to write and to read
}

// openExisting opens the file of a lock. One that went away meanwhile is
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

// isAt tells whether a file still has its name.
func isAt(f *os.File, dir *os.Root, name string) (bool, error) {
	here, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := dir.Lstat(name)
	return err == nil && os.SameFile(here, there), err
}
