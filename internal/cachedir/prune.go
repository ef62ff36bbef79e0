package cachedir

import (
	"context"
	"errors"
	"time"

	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/memo"
)

// PruneOptions says what Prune removes besides what nothing refers to, and what killed processes
// have left. The zero value removes nothing else.
type PruneOptions struct {
	// Before removes what was not used since then.
	Before time.Time
	// All removes everything.
	All bool
	// Max limits the size of what stays, in bytes; 0 is no limit. What was not used for longest
	// goes first.
	Max int64
	// DryRun removes nothing.
	DryRun bool
}

// Pruned says what was removed.
type Pruned struct {
	// Images are the images, and Blobs counts the blobs; the rest was computed.
	Images []cache.Image
	Blobs  int
	Items  []memo.Item
	// Bytes is the size of all.
	Bytes int64
}

// Prune removes what was not used for long. It waits for processes that use the cache. warn is told
// what cannot be used.
func Prune(ctx context.Context, dir string, opts PruneOptions, warn func(error)) (*Pruned, error) {
	p := &Pruned{}
	if err := opts.limit(ctx, dir); err != nil {
		return p, err
	}
	if err := p.images(ctx, dir, opts, cache.OpenExclusive); err != nil {
		return p, err
	}
	// One after the other: a build has both, and would wait for the first.
	return p, p.items(ctx, dir, opts, memo.OpenExclusive, warn)
}

// Limit removes what was not used for longest from a cache that takes more than limit bytes, unless
// another process uses it.
func Limit(ctx context.Context, dir string, limit int64) error {
	opts := PruneOptions{Max: limit}
	if err := opts.limit(ctx, dir); err != nil || opts.Before.IsZero() {
		return err
	}
	p := &Pruned{}
	return errors.Join(
		ignoreBusy(p.images(ctx, dir, opts, cache.TryExclusive)),
		ignoreBusy(p.items(ctx, dir, opts, memo.TryExclusive, func(error) {})))
}

func ignoreBusy(err error) error {
	if errors.As(err, new(*flock.BusyError)) {
		return nil
	}
	return err
}

// limit makes a time of the limit.
func (o *PruneOptions) limit(ctx context.Context, dir string) error {
	if o.Max <= 0 {
		return nil
	}
	files, err := uses(ctx, dir)
	if err != nil {
		return err
	}
	if t := since(files, o.Max); t.After(o.Before) {
		o.Before = t
	}
	return nil
}

func (p *Pruned) images(ctx context.Context, dir string, opts PruneOptions, open func(context.Context, string) (*cache.Store, error)) error {
	s, err := openImages(ctx, dir, open)
	if err != nil || s == nil {
		return err
	}
	defer s.Close()
	gone, err := s.Prune(ctx, cache.PruneOptions{Before: opts.Before, All: opts.All, DryRun: opts.DryRun})
	if gone != nil {
		p.Images, p.Blobs = gone.Images, gone.Blobs
		p.Bytes += gone.Bytes
	}
	return err
}

// forever is after every time that a file can have.
var forever = time.Unix(1<<40, 0)

func (p *Pruned) items(ctx context.Context, dir string, opts PruneOptions, open func(context.Context, string) (*memo.Memo, error), warn func(error)) error {
	m, err := open(ctx, dir)
	if err != nil {
		return useless(ctx, err, warn)
	}
	defer m.Close()
	before := opts.Before
	switch {
	case opts.All:
		before = forever
	case before.IsZero():
		before = before.Add(1) // what nothing refers to
	}
	p.Items, err = m.Prune(ctx, before, opts.DryRun)
	for _, item := range p.Items {
		p.Bytes += item.Size
	}
	return err
}
