package ocilayout

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/flock"
)

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
func (l *lock) try() (locked bool, err error) {
	locked, l.known, err = flock.Try(l.file, flock.Exclusive)
	return locked, err
}

// wait takes the lock as soon as nobody else has it.
func (l *lock) wait(ctx context.Context) error { return flock.Wait(ctx, l.file, flock.Exclusive) }

// isAt reports whether path still leads to the locked directory.
func (l *lock) isAt(path string) bool {
	here, err := l.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(here, there)
}
