package enginetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/owner"
)

// homePrefix begins the names of the directories that engines live in.
const homePrefix = "varve-engines-"

// home is a directory for everything that engines write. The lock in it is
// held for as long as its test binary lives.
type home struct {
	dir  string
	lock *os.File
	// small gives engines little room for images.
	small bool
}

// newHome makes a home, after removing those that killed test binaries left behind.
func newHome() (*home, error) {
	if old, err := filepath.Glob(filepath.Join(os.TempDir(), homePrefix+"*")); err == nil {
		for _, dir := range old {
			reclaim(dir)
		}
	}
	dir, err := os.MkdirTemp("", homePrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("make a directory for engines: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the engines' directory: %w", err), os.RemoveAll(dir))
	}
	h := &home{dir: dir, lock: lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), h.remove())
	}
	return h, nil
}

// reclaim removes a home of this user's that is an hour old and that nobody has
// locked. One that cannot be removed is ignored.
func reclaim(dir string) {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() || !owner.Ours(info) {
		return
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer lock.Close()
	info, err := lock.Stat()
	if err != nil || time.Since(info.ModTime()) < time.Hour {
		return
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.RemoveAll(dir)
	}
}

// sub makes a directory in the home.
func (h *home) sub(elem ...string) (string, error) {
	dir := filepath.Join(append([]string{h.dir}, elem...)...)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("make a directory for engines: %w", err)
	}
	return dir, nil
}

// data makes the directory for an engine's images, and returns what its environment needs for it.
func (h *home) data(elem ...string) (dir string, env []string, err error) {
	dir, err = h.sub(elem...)
	if h.small {
		env = []string{smallDisk + "=" + dir}
	}
	return dir, env, err
}

// small starts an engine with little room for images.
func small(start func(*home) (Engine, func(), error)) func(*home) (Engine, func(), error) {
	return func(h *home) (Engine, func(), error) {
		return start(&home{dir: filepath.Join(h.dir, "small"), small: true})
	}
}

// remove removes the home. The daemons' processes were killed, but may take a
// moment to die.
func (h *home) remove() error {
	defer h.lock.Close()
	var err error
	for range 100 {
		if err = os.RemoveAll(h.dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("remove the engines' directory: %w", err)
}
