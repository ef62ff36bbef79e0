package transfer

import (
	"context"
	"errors"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/memo"
)

// Several has the same images written to several destinations, one after the other. Layers that
// are made here are read, and compressed in each way that is asked for, once for all. It has to
// be closed.
type Several struct {
	// Options are those to write with.
	Options Options

	sharing *image.Sharing // nil for one destination
	memo    *memo.Memo
	dir     *atomicfile.Dir // of memo, if that is not the caller's
}

// NewSeveral returns what is shared by a number of destinations. Without a memo in opts, what is
// compressed is kept in a temporary one.
func NewSeveral(ctx context.Context, destinations int, opts Options) (*Several, error) {
	s := &Several{Options: opts}
	if destinations < 2 {
		return s, nil
	}
	s.sharing = image.NewSharing(opts.Places.TempDir, destinations)
	if opts.Places.Memo != nil && opts.Places.Memo(ctx) != nil {
		return s, nil
	}
	var err error
	if s.dir, err = atomicfile.TempDir(opts.Places.TempDir); err != nil {
		return nil, err
	}
	s.memo = memo.Open(ctx, s.dir.Path(), func(error) {}) // without it each destination compresses
	s.Options.Places.Memo = func(context.Context) *memo.Memo { return s.memo }
	return s, nil
}

// Image returns the image that the destinations share.
func (s *Several) Image(img image.Image) image.Image {
	if s.sharing == nil {
		return img
	}
	return s.sharing.Image(img)
}

// Each calls write for each destination. The others are written too if one fails, unless ctx is
// done; the error has all of them.
func (s *Several) Each(ctx context.Context, destinations []Destination, write func(d Destination, last bool) error) error {
	var errs []error
	for i, d := range destinations {
		errs = append(errs, write(d, i == len(destinations)-1))
		if ctx.Err() != nil {
			break
		}
		if s.sharing != nil {
			s.sharing.Next()
		}
	}
	return errors.Join(errs...)
}

// Close removes what was kept.
func (s *Several) Close() error {
	if s.sharing == nil {
		return nil
	}
	err := s.sharing.Close()
	if s.memo != nil {
		err = errors.Join(err, s.memo.Close())
	}
	if s.dir != nil {
		s.dir.Abort()
	}
	return err
}
