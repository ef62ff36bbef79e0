package base

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// Plan says which store paths share a layer, in another image or by a plan file.
type Plan struct {
	// Name is what the plan was read from, for messages.
	Name string
	// Layers are the store paths of its layers, the lowest first; nil for a layer without, or of which
	// nobody knows.
	Layers [][]string
	// DiffIDs are the image's layers; nil for a plan file.
	DiffIDs []digest.Digest
}

// ImagePlan returns what the history of an image tells of its layers.
func ImagePlan(name string, img *image.Stored) *Plan {
	return &Plan{Name: name, Layers: img.StorePaths(), DiffIDs: img.DiffIDs}
}

// IsPlanFile reports whether a reference is the path of a plan file, and returns the path.
func IsPlanFile(ref string) (path string, ok bool) {
	at, err := place.ParseSource(ref)
	if err != nil || at.Transport != place.Unknown || !strings.HasSuffix(ref, layering.PlanSuffix) {
		return "", false
	}
	return at.Path, true
}

// Plan reads the plan that a spec names. An image is opened as Open opens it, but no layer is
// fetched. lock is the path of the spec's varve.lock, which need not exist.
func (r *Resolver) Plan(ctx context.Context, ref spec.Base, lock string) (*Plan, error) {
	if path, ok := IsPlanFile(ref.Reference); ok {
		if !ref.Local {
			path = r.opts.Root + path
		}
		return readPlan(path)
	}
	at, err := place.ParseSource(ref.Reference)
	if err != nil {
		return nil, err
	}
	var img *image.Stored
	if at.Transport == place.Registry {
		img, err = r.documents(ctx, at.Name, r.platform(ref), lock)
	} else {
		var found *place.Image
		if found, err = r.find(ctx, ref, lock); err == nil {
			img = found.Stored
		}
	}
	if err != nil {
		return nil, err
	}
	return ImagePlan(ref.Reference, img), nil
}

// readPlan reads a plan file.
func readPlan(path string) (*Plan, error) {
	data, err := regfile.Read(path, layering.MaxPlanSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &place.RefError{Err: fmt.Errorf("read %q: %w", path, fs.ErrNotExist), Hints: []string{"varve lock --layers SPEC writes it"}}
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	layers, err := layering.ParsePlan(data)
	if err != nil {
		return nil, &place.RefError{Err: fmt.Errorf("%q: %w", path, err)}
	}
	return &Plan{Name: path, Layers: layers}, nil
}

// documents opens a registry's image without its layers, which cannot be read in the cache.
func (r *Resolver) documents(ctx context.Context, ref string, platform v1.Platform, lock string) (*image.Stored, error) {
	p, err := r.pin(ctx, ref, platform, lock)
	var unpinned *UnpinnedError
	if errors.As(err, &unpinned) {
		unpinned.Previous = true
	}
	if err != nil {
		return nil, err
	}
	store, err := r.store(ctx)
	if err != nil {
		return nil, err
	}
	var img *image.Stored
	if store == nil {
		img, err = r.openUncached(ctx, p)
	} else {
		img, _, err = openPinned(ctx, r.cached(store, p), p)
	}
	if err != nil {
		return nil, fmt.Errorf("previous image %q: %w", p.name, err)
	}
	return img, nil
}
