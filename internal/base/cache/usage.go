package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/regfile"
)

// Use says what a blob takes, and when it was used last.
type Use struct {
	Digest digest.Digest
	// Size is its size in bytes.
	Size int64
	// Used is when the last of the images was used that have it; it is zero for a blob that belongs
	// to no image.
	Used time.Time
}

// Exists reports whether there is a cache in a directory, which Open would make otherwise.
func Exists(dir string) (bool, error) {
	for _, name := range []string{v1.ImageLayoutFile, "blobs"} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, &DirError{dir, regfile.Cause(err)}
		}
	}
	return false, nil
}

// Usage lists what is in a cache. Prune removes an image's blobs if all images that have them were
// not used since a time, and so all those whose Used is before that time.
func (s *Store) Usage(ctx context.Context) ([]Use, error) {
	images, blobs, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	used := map[digest.Digest]time.Time{}
	for _, img := range images {
		for d := range img.blobs {
			if img.Used.After(used[d]) {
				used[d] = img.Used
			}
		}
	}
	list := make([]Use, len(blobs))
	for i, b := range blobs {
		list[i] = Use{b.Digest, b.Size, used[b.Digest]}
	}
	return list, nil
}

// Look opens a cache that exists to list what is in it, without keeping others from removing it.
func Look(ctx context.Context, dir string) (*Store, error) {
	return open(ctx, dir, func(*Store) error { return nil })
}

// TryExclusive is OpenExclusive without a wait: if another process uses the cache, the error is a
// *flock.BusyError, wrapped.
func TryExclusive(ctx context.Context, dir string) (*Store, error) {
	return open(ctx, dir, func(s *Store) (err error) {
		if s.foreign {
			return s.writable()
		}
		s.users, err = flock.TryTake(s.root, usersName, flock.Exclusive, s.usersText())
		return err
	})
}

// usersText says for whom one waits who wants the cache alone.
func (s *Store) usersText() string { return fmt.Sprintf("other processes use the cache %q", s.dir) }

// Foreign reports whether the cache is another user's, so that it is only read.
func (s *Store) Foreign() bool { return s.foreign }

// Added reports whether a blob was added to the cache.
func (s *Store) Added() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.added
}
