// Package memo remembers what was computed, for the next run on this machine: which digest a
// layer has whose files are as they were, what a tar compresses to, what a script made.
//
// Guarantees:
//
//   - What is found under a key is what was kept under it, byte for byte: each entry has its own
//     checksum, which covers the key. An entry that is torn, damaged or elsewhere does not exist.
//   - Only entries count that this user or root has made, in directories that nobody else can
//     write to: an entry is believed, and not compared with what it stands for.
//   - A memo that cannot be used costs time and nothing else. That is said once.
//
// Large content is kept once by its digest, which is compared whenever it is read.
//
// Non-goals: finding out keys, which is up to those who know what a result depends on; anything
// that another user or machine could have made.
package memo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/owner"
	"github.com/varve-image/varve/internal/regfile"
)

// Kind is what an entry is about. Each has a directory of its own.
type Kind string

// The kinds of entries.
const (
	// Layers are the digests and sizes of layers, by what they are made of.
	Layers Kind = "layers"
	// Names say that a layer of a name was kept.
	Names Kind = "names"
	// Blobs describe compressed layers, by diffID and compressor.
	Blobs Kind = "blobs"
	// Listings are the files of a base image, by its layers.
	Listings Kind = "listings"
	// Steps are what scripts made, by what they could see.
	Steps Kind = "steps"
)

// Kinds lists the kinds of entries.
func Kinds() []Kind { return []Kind{Layers, Names, Blobs, Listings, Steps} }

// subdir is the name of the memo's directory in the cache's.
const subdir = "memo"

// contents is the directory of large contents.
const contents = "contents"

// Memo is a directory of remembered results. A nil Memo remembers nothing. Its methods may be
// called by several goroutines.
type Memo struct {
	dir   string
	root  *os.Root
	users *flock.Lock // shared by all processes that use the memo
	// began is when the memo was opened, by the file system's clock; it is long ago where the memo
	// cannot be written.
	began time.Time
	// warn is told once why the memo is not of use.
	warn func(error)

	mu   sync.Mutex
	said bool
	good map[string]bool // directories that are ours
	kept bool            // something was kept
}

// DirError says why a memo is not used, or not written to.
type DirError struct {
	Dir string
	Err error
}

func (e *DirError) Error() string {
	return fmt.Sprintf("cache %q: what was computed is not remembered there: %v", e.Dir, e.Err)
}

func (e *DirError) Unwrap() error { return e.Err }

// Open opens the memo in the cache's directory dir, and makes it if there is none. It returns
// nil, after a call of warn, if that directory cannot be used; warn is also told, once, if
// something cannot be kept later.
func Open(ctx context.Context, dir string, warn func(error)) *Memo {
	m, err := open(ctx, dir, flock.Shared, true)
	if err != nil {
		if ctx.Err() == nil {
			warn(err)
		}
		return nil
	}
	m.warn = warn
	return m
}

// OpenExclusive opens a memo that exists while no other process uses it, to remove things from
// it. It returns fs.ErrNotExist, wrapped, if there is none.
func OpenExclusive(ctx context.Context, dir string) (*Memo, error) {
	return open(ctx, dir, flock.Exclusive, true)
}

func open(ctx context.Context, dir string, mode flock.Mode, wait bool) (*Memo, error) {
	m := &Memo{dir: dir, warn: func(error) {}, good: map[string]bool{}}
	err := m.openRoot(mode == flock.Shared)
	if err == nil {
		err = m.join(ctx, mode, wait)
	}
	if err != nil {
		m.Close()
		return nil, &DirError{dir, regfile.Cause(err)}
	}
	if mode == flock.Shared {
		m.began = m.now()
	}
	return m, nil
}

// now returns the time by the file system's clock.
func (m *Memo) now() time.Time {
	f, err := atomicfile.CreateIn(m.root, "now")
	if err != nil {
		return time.Time{}
	}
	defer f.Abort()
	info, err := f.Stat()
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// openRoot opens the memo's directory.
func (m *Memo) openRoot(make bool) error {
	if make {
		if err := os.MkdirAll(m.dir, 0o700); err != nil {
			return err
		}
	}
	cache, err := openDir(m.dir)
	if err != nil {
		return err
	}
	defer cache.Close()
	if err := private(cache); err != nil {
		return err
	}
	if make {
		if err := cache.Mkdir(subdir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if m.root, err = cache.OpenRoot(subdir); err != nil {
		return err
	}
	return private(m.root)
}

// openDir opens the cache's directory. Where another user's link leads is not this user's choice.
func openDir(dir string) (*os.Root, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() == fs.ModeSymlink && !owner.Trusted(info) {
		return nil, fmt.Errorf("it is a symlink of another user's, %d: name what it leads to", owner.Of(info))
	}
	if to, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !to.IsDir() { // opening a FIFO would block
		return nil, unix.ENOTDIR
	}
	return os.OpenRoot(dir)
}

// private returns an error if another user can put something into a directory.
func private(dir *os.Root) error {
	info, err := dir.Stat(".")
	switch {
	case err != nil:
		return err
	case !owner.Trusted(info):
		return fmt.Errorf("%q belongs to another user, %d", dir.Name(), owner.Of(info))
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others can write to %q: take that away (chmod go-w)", dir.Name())
	}
	return nil
}

// usersName is the name of the lock that every process has that uses the memo.
const usersName = ".users.lock"

func (m *Memo) join(ctx context.Context, mode flock.Mode, wait bool) (err error) {
	what := fmt.Sprintf("another process clears the cache %q", m.dir)
	if mode == flock.Exclusive {
		what = fmt.Sprintf("other processes use the cache %q", m.dir)
	}
	if !wait {
		m.users, err = flock.TryTake(m.root, usersName, mode, what)
		return err
	}
	m.users, err = flock.Take(ctx, m.root, usersName, mode, what)
	var busy *flock.BusyError
	if mode == flock.Shared && ctx.Err() == nil && !errors.As(err, &busy) {
		return nil // it cannot be written: what is in it is of use
	}
	return err
}

// Close closes the memo.
func (m *Memo) Close() error {
	if m == nil {
		return nil
	}
	if m.users != nil {
		m.users.Release()
	}
	if m.root != nil {
		return m.root.Close()
	}
	return nil
}

// Dir returns the cache's directory; it is empty for a nil Memo.
func (m *Memo) Dir() string {
	if m == nil {
		return ""
	}
	return m.dir
}

// noteKept notes that something was added.
func (m *Memo) noteKept() {
	m.mu.Lock()
	m.kept = true
	m.mu.Unlock()
}

// fail tells the user, once, that something cannot be kept.
func (m *Memo) fail(err error) {
	m.mu.Lock()
	first := !m.said
	m.said = true
	m.mu.Unlock()
	if first {
		m.warn(&DirError{m.dir, regfile.Cause(err)})
	}
}

// ours reports whether a directory of the memo is private, and remembers that.
func (m *Memo) ours(name string) bool {
	m.mu.Lock()
	known := m.good[name]
	m.mu.Unlock()
	if known {
		return true
	}
	info, err := m.root.Lstat(name)
	if err != nil || !info.IsDir() || !owner.Trusted(info) || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	m.mu.Lock()
	m.good[name] = true
	m.mu.Unlock()
	return true
}

var errNotOurs = errors.New("it is not a directory of this user's alone")

// makeDir makes a directory in the memo's, if it is not there.
func (m *Memo) makeDir(name string) error {
	if m.ours(name) {
		return nil
	}
	if err := m.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !m.ours(name) {
		return fmt.Errorf("%q: %w: remove it", subdir+"/"+name, errNotOurs)
	}
	return nil
}
