package dockertools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// Options says what the functions need besides their arguments. Conf needs Now, and
// BuildDerivation all that is a function, where it is not said otherwise.
type Options struct {
	// Transfer says what places of images need, which of several images is meant where a
	// derivation does not say, and who is told of progress.
	Transfer transfer.Options
	// Root is put before absolute paths in a conf.json to find the files, StoreRoot before those
	// in the store instead, where it is not empty.
	Root, StoreRoot string
	// SourceDateEpoch returns the environment's SOURCE_DATE_EPOCH, or nil.
	SourceDateEpoch func() (*int64, error)
	// Steps is how scripts are run.
	Steps assemble.Steps
	// Now is the clock.
	Now func() time.Time
	// Describe describes the image of a spec whose varve.lock is at lock. Build builds it and
	// writes it, or its layer, to the place that a reference names. Both say what there is to
	// say of the image.
	Describe func(ctx context.Context, s *spec.Spec, lock string) (*assemble.Result, error)
	Build    func(ctx context.Context, s *spec.Spec, lock, ref string) error
	// Omitted, where it is set, is told what a directory lacks that was written.
	Omitted func(dir string, what []tree.Omitted)
	// Info, where it is set, is told what was done.
	Info func(text string)
}

func (o Options) info(format string, args ...any) {
	if o.Info != nil {
		o.Info(fmt.Sprintf(format, args...))
	}
}

func (o Options) progress(ctx context.Context, layers int, title string) (observe func(image.Event), done func()) {
	if o.Transfer.Progress == nil {
		return nil, func() {}
	}
	return o.Transfer.Progress(ctx, layers, title)
}

// Tools are the functions with their options. What they open stays open until Close.
type Tools struct {
	opts Options
	open []io.Closer
}

// New returns the functions.
func New(opts Options) *Tools { return &Tools{opts: opts} }

// Close closes the images that were opened. Their layers cannot be read any more.
func (t *Tools) Close() error {
	var errs []error
	for _, c := range t.open {
		errs = append(errs, c.Close())
	}
	t.open = nil
	return errors.Join(errs...)
}

// keep has a closer closed by Close.
func (t *Tools) keep(c io.Closer) { t.open = append(t.open, c) }

// registryPrefix makes a reference of an image's name in a registry.
const registryPrefix = string(place.Registry) + "://"

func (t *Tools) places() place.Options { return t.opts.Transfer.Places }

func (t *Tools) platform() v1.Platform { return t.opts.Transfer.Wanted.Platform }
