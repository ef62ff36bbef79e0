// Package cachedir looks after a cache's directory: the base images in it (package base/cache) and
// what was computed (package memo) are one cache to those who list, check and clear it.
//
// Guarantees:
//
//   - Nothing is removed that a running process uses, and Limit waits for none.
//   - What was not used for longest goes first, whichever of the two it is in; before all else goes
//     what nothing refers to.
//   - A part of the cache that cannot be used, or is not there, does not keep the other from being
//     listed, checked and cleared.
package cachedir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/memo"
)

// DefaultMax is the limit of a cache's size that a user has not given, in bytes.
const DefaultMax = 10 << 30

// Listing says what is in a cache.
type Listing struct {
	Images []cache.Image
	// Blobs is how many blobs of images there are, and Size the size of all that is in the cache.
	Blobs int
	Size  int64
	// Kinds are what was computed.
	Kinds []Kind
}

// Computed counts what was computed.
func (l *Listing) Computed() (n int) {
	for _, k := range l.Kinds {
		n += k.Count
	}
	return n
}

// Kind says what there is of one kind of what was computed.
type Kind struct {
	Name  string
	Count int
	// Size is the size of all of them in bytes.
	Size int64
	// Used is when one of them was used last.
	Used time.Time
}

// List lists a cache. warn is told what cannot be used.
func List(ctx context.Context, dir string, warn func(error)) (*Listing, error) {
	l := &Listing{}
	foreign, err := l.images(ctx, dir)
	if err != nil || foreign {
		return l, err
	}
	items, err := itemsOf(ctx, dir, warn)
	kinds := map[memo.Kind]*Kind{}
	for _, item := range items {
		k := kinds[item.Kind]
		if k == nil {
			k = &Kind{Name: string(item.Kind)}
			kinds[item.Kind] = k
		}
		k.Count++
		k.Size += item.Size
		l.Size += item.Size
		if item.Used.After(k.Used) {
			k.Used = item.Used
		}
	}
	for _, kind := range append(memo.Kinds(), memo.Contents) {
		if k := kinds[kind]; k != nil {
			l.Kinds = append(l.Kinds, *k)
		}
	}
	return l, err
}

// images lists the images, if there is a cache of them. foreign says that it is another user's.
func (l *Listing) images(ctx context.Context, dir string) (foreign bool, err error) {
	s, err := openImages(ctx, dir, cache.Open)
	if err != nil || s == nil {
		return false, err
	}
	defer s.Close()
	images, blobs, err := s.List(ctx)
	if err != nil {
		return false, err
	}
	l.Images, l.Blobs = images, len(blobs)
	for _, b := range blobs {
		l.Size += b.Size
	}
	return s.Foreign(), nil
}

// openImages opens the cache of base images; it returns nil if there is none.
func openImages(ctx context.Context, dir string, open func(context.Context, string) (*cache.Store, error)) (*cache.Store, error) {
	if there, err := cache.Exists(dir); err != nil || !there {
		return nil, err
	}
	return open(ctx, dir)
}

// itemsOf lists what was computed.
func itemsOf(ctx context.Context, dir string, warn func(error)) ([]memo.Item, error) {
	m, err := memo.Look(dir)
	if err != nil {
		return nil, useless(ctx, err, warn)
	}
	defer m.Close()
	return m.List(ctx)
}

// useless tells warn why a memo cannot be opened, unless there is none or it is for others alone. It
// returns the error of one that only cannot be opened now.
func useless(ctx context.Context, err error, warn func(error)) error {
	var busy *flock.BusyError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
	case errors.As(err, &busy):
		return busy
	default:
		warn(err)
	}
	return nil
}

// Verified says what is as it should be.
type Verified struct {
	// Images and Blobs count the images and their blobs, Items what was computed.
	Images, Blobs, Items int
}

// Verify reads everything in a cache and compares it with its digest. report is called, by one
// goroutine at a time, with what is damaged or missing; of what was computed that is removed.
func Verify(ctx context.Context, dir string, report, warn func(error)) (*Verified, error) {
	v := &Verified{}
	foreign, err := v.images(ctx, dir, report)
	if err != nil || foreign {
		return v, err
	}
	m, err := memo.OpenShared(ctx, dir)
	if err != nil {
		return v, useless(ctx, err, warn)
	}
	defer m.Close()
	v.Items, err = m.Verify(ctx, func(err *memo.DamagedError) { report(err) })
	return v, err
}

func (v *Verified) images(ctx context.Context, dir string, report func(error)) (foreign bool, err error) {
	s, err := openImages(ctx, dir, cache.Open)
	if err != nil || s == nil {
		return false, err
	}
	defer s.Close()
	if err := s.Verify(ctx, report); err != nil {
		return false, err
	}
	images, blobs, err := s.List(ctx)
	if err != nil {
		return false, err
	}
	v.Images, v.Blobs = len(images), len(blobs)
	for _, img := range images {
		if n := len(img.Missing); n > 0 {
			report(fmt.Errorf("image %q: %s missing, the first is %s", img.Title(), human.Count(n, "blob"), img.Missing[0]))
		}
	}
	return s.Foreign(), nil
}

// use is a file of a cache.
type use struct {
	used time.Time
	size int64
}

// block is what a file takes at least, and a multiple of which it takes: of many small entries the
// size alone would say little.
const block = 4096

// uses lists the files of a cache.
func uses(ctx context.Context, dir string) ([]use, error) {
	var list []use
	add := func(used time.Time, size int64) {
		list = append(list, use{used, max(block, (size+block-1)/block*block)})
	}
	s, err := openImages(ctx, dir, cache.Look)
	if err != nil {
		return nil, err
	}
	if s != nil {
		defer s.Close()
		blobs, err := s.Usage(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range blobs {
			add(b.Used, b.Size)
		}
	}
	items, err := itemsOf(ctx, dir, func(error) {})
	for _, item := range items {
		add(item.Used, item.Size)
	}
	return list, err
}

// since returns the time since when files have to have been used to stay, so that they take nine
// tenths of a limit if they take more than the limit: the next build should not have to do this
// again. It is zero if all may stay.
func since(files []use, limit int64) time.Time {
	var total int64
	for _, f := range files {
		total += f.size
	}
	if total <= limit {
		return time.Time{}
	}
	slices.SortFunc(files, func(a, b use) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.size, b.size)) })
	var last time.Time
	for _, f := range files {
		if total <= limit/10*9 {
			break
		}
		total -= f.size
		last = f.used
	}
	return last.Add(1)
}
