package transfer

import (
	"context"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/spec"
)

// Bases are references to the image's base and to its new base. An empty one is taken from the
// annotations of the image's manifest: Old is the base by its digest, New what its name stands
// for now.
type Bases struct{ Old, New string }

// UnknownBaseError says that a base was not named, and that the image does not name it.
type UnknownBaseError struct {
	// New says that it is the new base.
	New bool
}

func (e *UnknownBaseError) Error() string {
	if e.New {
		return "no new base, and the image does not say what its base is called"
	}
	return "the image does not say what it is built on: its manifest lacks the annotations " +
		v1.AnnotationBaseImageName + " and " + v1.AnnotationBaseImageDigest
}

// Rebased is an image that was put on another base.
type Rebased struct {
	Sent
	// Old, New and Kept count the layers of the old base, of the new one, and those that the
	// image adds.
	Old, New, Kept int
}

// Rebase puts the layers that an image adds to its base on another one, and writes the image:
// see image.Rebase.
func Rebase(ctx context.Context, ref string, bases Bases, d Destination, opts Options) (*Rebased, error) {
	found, err := place.OpenImage(ctx, ref, opts.Wanted, opts.Places)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	existing := found.List[0]
	if bases, err = bases.complete(existing.Stored); err != nil {
		return nil, err
	}
	want := place.Wanted{Platform: existing.ConfigPlatform()}
	want.Platform.OSVersion = ""
	var opened [2]*image.Stored
	for i, base := range []string{bases.Old, bases.New} {
		found, err := place.OpenImage(ctx, base, want, opts.Places)
		if err != nil {
			return nil, err
		}
		defer found.Close()
		opened[i] = found.List[0].Stored
	}
	img, err := rebase(existing.Stored, opened[0], opened[1], bases.New)
	if err != nil {
		return nil, &place.RefError{Err: fmt.Errorf("rebase %s: %w", place.Quote(ref), err)}
	}
	at, err := place.ParseSource(ref)
	if err != nil {
		return nil, err
	}
	sent, err := Write(ctx, d, []image.Named{(&place.Image{Stored: img, Names: existing.Names}).Named(at.Name)}, opts)
	if err != nil {
		return nil, fmt.Errorf("rebase %s: %w", place.Quote(ref), err)
	}
	below := len(opened[0].DiffIDs)
	return &Rebased{sent[0], below, len(opened[1].DiffIDs), len(existing.DiffIDs) - below}, nil
}

// rebase describes the image on its new base, whose reference is newRef.
func rebase(existing, oldBase, newBase *image.Stored, newRef string) (*image.Stored, error) {
	img, err := image.Rebase(existing, oldBase, newBase)
	if err != nil {
		return nil, err
	}
	if n := len(img.DiffIDs); n > spec.MaxLayers {
		return nil, fmt.Errorf("the image would have %d layers, more than %d", n, spec.MaxLayers)
	}
	name, ok := strings.CutPrefix(newRef, "docker://")
	if !ok { // it is not a registry's
		name = ""
	}
	img.Annotations = image.BaseAnnotations(img.Annotations, name, newBase)
	return img, nil
}

// complete fills in the bases that were not named from the image's annotations.
func (b Bases) complete(existing *image.Stored) (Bases, error) {
	annotations, err := ocijson.Annotations(existing.Manifest)
	if err != nil {
		return b, err
	}
	name, digest := annotations[v1.AnnotationBaseImageName], annotations[v1.AnnotationBaseImageDigest]
	named, err := reference.ParseNormalizedNamed(name)
	if b.Old == "" {
		if name == "" || digest == "" || err != nil {
			return b, &UnknownBaseError{}
		}
		if _, err := ocijson.ParseDigest(digest); err != nil {
			return b, fmt.Errorf("annotation %s: %w", v1.AnnotationBaseImageDigest, err)
		}
		b.Old = "docker://" + named.Name() + "@" + digest
	}
	if b.New == "" {
		if name == "" || err != nil {
			return b, &UnknownBaseError{New: true}
		}
		b.New = "docker://" + name
	}
	return b, nil
}
