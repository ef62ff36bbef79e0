// Package flock takes flock(2) locks, which end when their file is closed or with
// the process, however that ends. A file system without such locks is treated as
// one where nobody else has any.
//
// Whoever can open a file, even only for reading, can lock it and never let go. So a
// file that others may read is locked by a file beside it that they cannot open
// (Take), and no wait is silent or endless.
package flock

import (
	"context"
	"errors"
	"fmt"
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

const (
	// poll is how often a lock that somebody else has is tried.
	poll = 50 * time.Millisecond
	// quiet is how long a wait goes on before it is reported.
	quiet = time.Second
	// Patience is how long a wait for a lock may take.
	Patience = 10 * time.Minute
)

// BusyError says that somebody else had a lock for longer than Patience, or at all.
type BusyError struct {
	// What describes what the other process does, such as: another process writes to "x".
	What string
	// AtOnce says that nobody waited.
	AtOnce bool
}

func (e *BusyError) Error() string {
	if e.AtOnce {
		return e.What
	}
	return fmt.Sprintf("%s: gave up after %v", e.What, Patience)
}

type noticeKey struct{}

// WithNotice returns a context in which each wait that lasts a second calls notice, once, with
// a description of what the other process does.
func WithNotice(ctx context.Context, notice func(what string)) context.Context {
	return context.WithValue(ctx, noticeKey{}, notice)
}

// Try takes the lock of a file unless somebody else has it, and reports whether it
// did. known reports whether the file system has locks.
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
			return true, false, nil // NFS returns EBADF for a directory
		}
		return false, true, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
}

// wait takes the lock of a file as soon as nobody else has it. what is as in
// BusyError.
func wait(ctx context.Context, f *os.File, mode Mode, what string) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	loud, end := time.NewTimer(quiet), time.NewTimer(Patience)
	defer loud.Stop()
	defer end.Stop()
	for {
		if locked, _, err := Try(f, mode); locked || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-loud.C:
			if notice, ok := ctx.Value(noticeKey{}).(func(string)); ok {
				notice(what)
			}
		case <-end.C:
			return &BusyError{What: what}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
