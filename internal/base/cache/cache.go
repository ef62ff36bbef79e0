// Package cache keeps blobs of registries by their digests, so that a build fetches each of them
// once, and nothing when everything is there.
//
// Guarantees:
//
//   - A blob is compared with its digest, in this process, before it is returned. A damaged one
//     is fetched again or, where nothing may be fetched, an error; it is never returned.
//   - Blobs appear whole: a download is verified and synced to disk before it gets its name.
//   - Many processes may use a cache at once. Each blob is fetched by one of them while the
//     others wait. One process's Prune never removes what another uses. All locks are flock(2)'s
//     and end with their process; what a killed one leaves is used or removed by the next. No
//     wait is longer than flock.Patience.
//   - A cache that cannot be written serves what is in it, without a lock: a process that may
//     not write to it cannot stop those that may.
//   - Other users do no harm. A new cache is this user's alone. A cache contains no links, and
//     is written to only if its directories are this user's or root's; another user's is only
//     read. Files of users other than the cache's owner are ignored, except blobs.
//
// The blobs are an OCI image layout (image-spec, image-layout.md) in the cache's directory
// blobs, whose index.json lists what was asked for; a directory that is a layout itself is used
// as it is. So other tools can read it and fill it.
//
// Non-goals: knowing registries; limiting its own size, which package cachedir does.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/place/ocilayout"
)

// Store is an open cache. Its methods may be called by several goroutines.
type Store struct {
	dir  string   // the cache's
	root *os.Root // the layout
	// owner is the user that the cache belongs to; foreign says that this is neither this user
	// nor root.
	owner   int
	foreign bool
	users   *flock.Lock // shared by all users of the cache; nil where it cannot be written

	mu sync.Mutex
	// good holds the files that were compared with their digests.
	good map[digest.Digest]os.FileInfo
	// added says that a blob was added.
	added bool
}

// DirError says that a cache's directory cannot be used.
type DirError struct {
	Dir string
	Err error
}

func (e *DirError) Error() string { return fmt.Sprintf("cache %q: %v", e.Dir, e.Err) }

func (e *DirError) Unwrap() error { return e.Err }

// AbsentError says that a blob is not in the cache and may not be fetched. It is not a
// lack.Error: what helps is another way to call, which the caller knows.
type AbsentError struct {
	Dir    string
	Digest digest.Digest
}

func (e *AbsentError) Error() string {
	return fmt.Sprintf("blob %s is not in the cache %q", e.Digest, e.Dir)
}

// Is reports whether target is image.ErrNotFound.
func (e *AbsentError) Is(target error) bool { return target == image.ErrNotFound }

// Open opens the cache in a directory, which it makes if it does not exist, and waits while
// another process prunes it. It has to be closed.
func Open(ctx context.Context, dir string) (*Store, error) {
	return open(ctx, dir, func(s *Store) error { return s.join(ctx, flock.Shared) })
}

// OpenExclusive is like Open, but waits until nobody else uses the cache, and makes others wait.
func OpenExclusive(ctx context.Context, dir string) (*Store, error) {
	return open(ctx, dir, func(s *Store) error { return s.join(ctx, flock.Exclusive) })
}

// open opens a cache and calls join to take a lock on it.
func open(ctx context.Context, dir string, join func(*Store) error) (*Store, error) {
	s := &Store{dir: dir, good: map[digest.Digest]os.FileInfo{}}
	err := s.openLayout(ctx)
	if err == nil {
		err = join(s)
	}
	if err != nil {
		s.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &DirError{dir, err}
	}
	return s, nil
}

// usersName is the file that every user of a cache has locked.
const usersName = ".users.lock"

// join takes the lock for using the cache.
func (s *Store) join(ctx context.Context, mode flock.Mode) (err error) {
	if s.foreign {
		return nil
	}
	what := fmt.Sprintf("another process clears the cache %q", s.dir)
	if mode == flock.Exclusive {
		what = s.usersText()
	}
	s.users, err = flock.Take(ctx, s.root, usersName, mode, what)
	var busy *flock.BusyError
	if mode == flock.Shared && ctx.Err() == nil && !errors.As(err, &busy) {
		return nil // there can be no lock: the cache cannot be written, or the lock is another user's
	}
	return err
}

// unwritable reports whether an error means that this user may not write to a place.
func unwritable(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission)
}

// Close closes the cache.
func (s *Store) Close() error {
	if s.users != nil {
		s.users.Release()
	}
	if s.root != nil {
		return s.root.Close()
	}
	return nil
}

// Dir returns the cache's directory.
func (s *Store) Dir() string { return s.dir }

// Use lists the index or manifest that d describes under a name, and notes that it was used at
// the time now. full is the name that people know, with a tag; it may be empty.
func (s *Store) Use(ctx context.Context, d v1.Descriptor, name, full string, now time.Time) error {
	if s.foreign || s.checkIndex() != nil {
		return nil // others keep it
	}
	_ = s.root.Chtimes(ocilayout.BlobPath(d.Digest), now, now) // it may not be ours
	listed := v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform}
	listed.Annotations = map[string]string{v1.AnnotationRefName: name}
	if full == "" { // it may be known by one already
		full = s.fullName(name)
	}
	if full != "" {
		listed.Annotations[ocilayout.AnnotationName] = full
	}
	if err := ocilayout.AddManifest(ctx, s.root, listed); !unwritable(err) {
		return err
	}
	return nil
}

// fullName returns the full name of what is listed under a name, or "".
func (s *Store) fullName(name string) string {
	list, err := s.index()
	if err != nil {
		return "" // writing reports it
	}
	for _, d := range list {
		if d.Annotations[v1.AnnotationRefName] == name {
			return d.Annotations[ocilayout.AnnotationName]
		}
	}
	return ""
}
