// Package base opens the images that others build on: registries' images by digest, or by tag as
// varve.lock pins it, from the cache or the registry; and images in any other place.
//
// Guarantees:
//
//   - A registry's image that is not pinned is an error, unless Options.Unlocked takes what its
//     tag names now.
//   - A pinned image is found by its digest alone. Everything else in varve.lock is compared
//     with what was found, and decides nothing.
//   - With Options.Locked nothing is fetched.
//   - A plan of layers is read under the same rules, and of an image no layer is fetched for it.
//
// UpdateLock finds out what to pin.
//
// Non-goals: writing varve.lock (package lockfile has its format).
package base

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// Options says how to find base images.
type Options struct {
	// Places holds what places need, and the limits of images.
	Places place.Options
	// Root is put before the paths of images that were not written relative to the spec.
	Root string
	// Architecture is the architecture, as Go names it, for specs that name none.
	Architecture string
	// Unlocked allows images that are named by a tag alone. Locked requires them to be pinned
	// and in the cache.
	Unlocked, Locked bool
	// Cache opens the cache, or returns nil for none; a nil function means none, too.
	Cache func(ctx context.Context) (*cache.Store, error)
	// Now is the clock, for the time when a cached image was used; nil keeps that as it is.
	Now func() time.Time
	// Progress, where it is set, is called before layers are fetched, with their number. observe
	// is then called for each, and done at the end.
	Progress func(ctx context.Context, layers int, title string) (observe func(image.Event), done func())
}

// Resolver opens base images, which stay open until Close.
type Resolver struct {
	opts Options
	open []io.Closer
}

// New returns a resolver.
func New(opts Options) *Resolver { return &Resolver{opts: opts} }

// Close closes the images. Their layers cannot be read any more.
func (r *Resolver) Close() error {
	var errs []error
	for _, c := range r.open {
		errs = append(errs, c.Close())
	}
	r.open = nil
	return errors.Join(errs...)
}

func (r *Resolver) debugf(format string, args ...any) {
	if r.opts.Places.Debug != nil {
		r.opts.Places.Debug(fmt.Sprintf(format, args...))
	}
}

// PlatformError says that an image's config and the index that lists it contradict each other:
// it is unknown which is right.
type PlatformError struct {
	Reference string
	Err       error
}

func (e *PlatformError) Error() string { return fmt.Sprintf("base image %q: %v", e.Reference, e.Err) }

func (e *PlatformError) Unwrap() error { return e.Err }

// Open opens the image that a spec builds on. lock is the path of the spec's varve.lock, which
// need not exist.
func (r *Resolver) Open(ctx context.Context, ref spec.Base, lock string) (*image.Stored, error) {
	img, err := r.find(ctx, ref, lock)
	if err != nil {
		return nil, err
	}
	if err := img.CheckPlatform(); err != nil {
		return nil, &PlatformError{ref.Reference, err}
	}
	img.Remember(r.opts.Places.StoredMemo(ctx))
	return img.Stored, nil
}

func (r *Resolver) find(ctx context.Context, ref spec.Base, lock string) (*place.Image, error) {
	at, err := place.ParseSource(ref.Reference)
	switch {
	case err != nil:
		return nil, err
	case at.Transport == place.Registry:
		return r.Registry(ctx, at.Name, r.platform(ref), lock)
	case at.Transport.IsEngine() && r.opts.Locked:
		return nil, &place.RefError{
			Err:   unpinned{fmt.Errorf("base image %q is not pinned: an engine may have another one by this name", ref.Reference)},
			Hints: []string{"only an image of a registry, by digest or varve.lock, or a file is"},
		}
	}
	if !at.Transport.IsEngine() && at.Path != "-" && !ref.Local {
		at.Path = r.opts.Root + at.Path
	}
	places := r.opts.Places
	if ref.Architecture != "" { // the spec asks for it
		places = places.For(r.platform(ref))
	}
	src, name, err := place.Open(ctx, at, places)
	if err != nil {
		return nil, asWritten(ref, at, err)
	}
	r.open = append(r.open, src)
	if ref.Name != "" {
		return place.SelectCalled(ctx, src, ref.Name+":"+ref.Tag, r.platform(ref), r.opts.Places)
	}
	return place.Select(ctx, src, name, r.platform(ref), r.opts.Places)
}

// asWritten adds to the error of a path where nothing is what the text in the spec may stand
// for.
func asWritten(ref spec.Base, at place.Ref, err error) error {
	var wrong *place.RefError
	if !errors.As(err, &wrong) || at.Path == "" || at.Path == "-" {
		return err
	}
	if _, statErr := os.Stat(at.Path); errors.Is(statErr, fs.ErrNotExist) {
		return &place.RefError{Err: wrong.Err, Hints: place.Hints(ref.Written)}
	}
	return err
}

// platform returns the platform that a spec asks for.
func (r *Resolver) platform(ref spec.Base) v1.Platform {
	p := v1.Platform{OS: "linux", Architecture: ref.Architecture, Variant: ref.Variant}
	if p.Architecture == "" {
		p.Architecture = r.opts.Architecture
	}
	return p
}

// ReadLock reads the varve.lock at path. One that does not exist is empty.
func ReadLock(path string) (*lockfile.File, error) {
	data, err := regfile.Read(path, lockfile.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return &lockfile.File{}, nil
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	f, err := lockfile.Parse(data)
	if err != nil {
		return nil, &place.RefError{Err: fmt.Errorf("%q: %w", path, err)}
	}
	return f, nil
}

// unreadable explains the error of reading a file that somebody has put there: only the user can
// fix what is not a regular file of a reasonable size.
func unreadable(path string, err error) error {
	var unfit *regfile.UnfitError
	isUnfit := errors.As(err, &unfit)
	if err = fmt.Errorf("read %q: %w", path, regfile.Cause(err)); isUnfit {
		return &place.RefError{Err: err}
	}
	return err
}
