package ocilayout

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that somebody else has is tried.
const lockPoll = 50 * time.Millisecond

// lock is an open directory and the flock(2) on it. The lock ends with close
// or with the process.
type lock struct {
	file *os.File
	// known is whether the file system has locks. One without is used all the
	// same.
	known bool
}

// openLock opens a directory. It does not wait if that is something else.
func openLock(dir string) (*lock, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &lock{file: f}, nil
}

func (l *lock) close() { l.file.Close() }

// try takes the lock unless somebody else has it, and says whether it did.
func (l *lock) try() (bool, error) {
	for {
		err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			l.known = true
			return true, nil
		case err == unix.EINTR:
			continue
		case err == unix.EWOULDBLOCK:
			return false, nil
		case err == unix.ENOLCK, err == unix.ENOSYS, err == unix.EBADF, errors.Is(err, errors.ErrUnsupported):
			return true, nil // NFS says EBADF for a directory
		}
		return false, &os.PathError{Op: "lock", Path: l.file.Name(), Err: err}
	}
}

// wait takes the lock as soon as nobody else has it.
func (l *lock) wait(ctx context.Context) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		if locked, err := l.try(); locked || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isAt reports whether path still leads to the locked directory.
func (l *lock) isAt(path string) bool {
	here, err := l.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(here, there)
}
