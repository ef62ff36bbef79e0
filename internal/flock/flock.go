// Package flock takes flock(2) locks, which end when their file is closed or
// with the process, however that ends. A file system without such locks counts
// as one where nobody else has any.
package flock

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Mode is the kind of a lock.
type Mode int

// Many may have Shared locks of a file at once, or one an Exclusive one.
const (
	Shared    Mode = unix.LOCK_SH
	Exclusive Mode = unix.LOCK_EX
)

// poll is how often a lock that somebody else has is tried.
const poll = 50 * time.Millisecond

// Try takes the lock of a file unless somebody else has it, and says whether it
// did. known is whether the file system has locks.
func Try(f *os.File, mode Mode) (locked, known bool, err error) {
	for {
		err := unix.Flock(int(f.Fd()), int(mode)|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, true, nil
		case err == unix.EINTR:
			continue
		case err == unix.EWOULDBLOCK:
			return false, true, nil
		case err == unix.ENOLCK, err == unix.ENOSYS, err == unix.EBADF, errors.Is(err, errors.ErrUnsupported):
			return true, false, nil // NFS says EBADF for a directory
		}
		return false, true, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
}

// Wait takes the lock of a file as soon as nobody else has it.
func Wait(ctx context.Context, f *os.File, mode Mode) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if locked, _, err := Try(f, mode); locked || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
