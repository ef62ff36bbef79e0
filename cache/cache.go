// Package cache keeps blobs of registries by their digests, so that a build
// fetches each of them once and, when everything is there, none.
//
// Guarantees:
//
//   - A blob that is given out was compared with its digest before, in this
//     process. One that is not what it should be is fetched again or, where
//     nothing may be fetched, an error; it is never given out.
//   - Blobs appear whole: a download is verified and brought to disk before it
//     gets its name.
//   - Many processes may use a cache at once. Each blob is fetched by one of
//     them while the others wait. Nothing that one uses is taken away by
//     another's Prune. All locks are flock(2)'s and end with their process; what
//     a killed one leaves is used or removed by the next.
//   - A cache that cannot be written serves what is in it.
//
// The blobs are an OCI image layout (image-spec, image-layout.md) in the
// directory blobs of the cache's, whose index.json lists what was asked for; a
// directory that is a layout itself is taken as it is. So other tools can look
// into it and fill it.
//
// Non-goals: knowing a registry; keeping a size by itself.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/ocilayout"
)

// Store is an open cache. Its methods may be called by several goroutines.
type Store struct {
	dir    string // the cache's
	layout string // the layout's
	root   *os.Root
	users  *os.File // locked, shared by all who use the cache

	mu sync.Mutex
	// good are the files that were compared with their digests.
	good map[digest.Digest]os.FileInfo
}

// DirError says that a cache's directory cannot be used as it would have to.
type DirError struct {
	Dir string
	Err error
}

func (e *DirError) Error() string { return fmt.Sprintf("cache %q: %v", e.Dir, e.Err) }

func (e *DirError) Unwrap() error { return e.Err }

// MissingError says that a blob is not in the cache and may not be fetched.
type MissingError struct {
	Dir    string
	Digest digest.Digest
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("blob %s is not in the cache %q", e.Digest, e.Dir)
}

// Open opens the cache in a directory, which is made where it does not exist,
// and waits while another process prunes it. It has to be closed.
func Open(ctx context.Context, dir string) (*Store, error) { return open(ctx, dir, flock.Shared) }

// OpenExclusive is Open, but waits until nobody else uses the cache, and has
// others wait.
func OpenExclusive(ctx context.Context, dir string) (*Store, error) {
	return open(ctx, dir, flock.Exclusive)
}

func open(ctx context.Context, dir string, mode flock.Mode) (*Store, error) {
	s := &Store{dir: dir, layout: filepath.Join(dir, "blobs"), good: map[digest.Digest]os.FileInfo{}}
	if _, err := os.Lstat(filepath.Join(dir, v1.ImageLayoutFile)); err == nil {
		s.layout = dir
	}
	err := s.open(ctx, mode)
	if err != nil {
		s.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &DirError{dir, err}
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, mode flock.Mode) (err error) {
	if _, err := os.Lstat(filepath.Join(s.layout, v1.ImageIndexFile)); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(s.layout, 0o777); err != nil {
			return cause(err)
		}
		if err := ocilayout.Init(ctx, s.layout); err != nil {
			return err
		}
	}
	if s.root, err = os.OpenRoot(s.layout); err != nil {
		return cause(err)
	}
	s.users, err = os.OpenFile(filepath.Join(s.layout, "blobs"), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return cause(err)
	}
	return flock.Wait(ctx, s.users, mode)
}

// Close ends the use of the cache.
func (s *Store) Close() error {
	if s.users != nil {
		s.users.Close()
	}
	if s.root != nil {
		return s.root.Close()
	}
	return nil
}

// Dir is the cache's directory.
func (s *Store) Dir() string { return s.dir }

// cause is what went wrong with a file, without its name.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Use has the cache list what d describes, an index or a manifest, by a name,
// and remember that it was used at the time now. full is the name that people
// know, with a tag; it may be empty.
func (s *Store) Use(ctx context.Context, d v1.Descriptor, name, full string, now time.Time) error {
	_ = s.root.Chtimes(ocilayout.BlobPath(d.Digest), now, now) // it may not be ours
	listed := v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform}
	listed.Annotations = map[string]string{v1.AnnotationRefName: name}
	if full == "" { // it may be known by one already
		full = s.fullName(name)
	}
	if full != "" {
		listed.Annotations[ocilayout.AnnotationName] = full
	}
	err := ocilayout.AddManifest(ctx, s.layout, listed)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		return nil // others keep it
	}
	return err
}

// fullName is the full name of what is listed by a name, or empty.
func (s *Store) fullName(name string) string {
	list, err := ocilayout.ReadIndex(s.root)
	if err != nil {
		return "" // whoever writes to it says so
	}
	for _, d := range list {
		if d.Annotations[v1.AnnotationRefName] == name {
			return d.Annotations[ocilayout.AnnotationName]
		}
	}
	return ""
}
