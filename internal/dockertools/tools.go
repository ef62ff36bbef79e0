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

// Options holds what the functions need besides their arguments. Conf needs Now;
// BuildDerivation needs every field that is a function, except as noted.
type Options struct {
	// Transfer says what places of images need, which of several images is meant if a
	// derivation does not say, and where progress is reported.
	Transfer transfer.Options
	// Root is put before absolute paths in a conf.json to find the files; StoreRoot, if not
	// empty, before those in the store instead.
	Root, StoreRoot string
	// SourceDateEpoch returns the environment's SOURCE_DATE_EPOCH, or nil.
	SourceDateEpoch func() (*int64, error)
	// Steps says how scripts are run.
	Steps assemble.Steps
	// Now is the clock.
	Now func() time.Time
	// Describe describes the image of a spec whose varve.lock is at lock. Build builds it and
	// writes it, or its layer, to the place that a reference names. Both report the image's
	// notes and warnings.
	Describe func(ctx context.Context, s *spec.Spec, lock string) (*assemble.Result, error)
	Build    func(ctx context.Context, s *spec.Spec, lock, ref string) error
	// Omitted, if set, receives what a written directory lacks.
	Omitted func(dir string, what []tree.Omitted)
	// Info, if set, receives messages about what was done.
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

// Tools holds the functions with their options. What they open stays open until Close.
type Tools struct {
	opts Options
	open []io.Closer
}

// New returns the functions.
func New(opts Options) *Tools { return &Tools{opts: opts} }

// Close closes the images that were opened. Their layers cannot be read afterwards.
func (t *Tools) Close() error {
	var errs []error
	for _, c := range t.open {
		errs = append(errs, c.Close())
	}
	t.open = nil
	return errors.Join(errs...)
}

// keep registers a closer for Close.
func (t *Tools) keep(c io.Closer) { t.open = append(t.open, c) }

// registryPrefix turns an image's name in a registry into a reference.
const registryPrefix = string(place.Registry) + "://"

func (t *Tools) places() place.Options { return t.opts.Transfer.Places }

func (t *Tools) platform() v1.Platform { return t.opts.Transfer.Wanted.Platform }
