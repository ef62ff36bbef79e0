package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
)

// Image is an image in a place, with its names there.
type Image struct {
	*image.Stored
	Names []string
}

// Named returns the image with the names that a copy keeps, short as people write them. asked is
// the name that it was asked for by, or empty.
func (i *Image) Named(asked string) image.Named {
	names := image.NamesFor(i.Names, asked)
	for n, name := range names.RepoTags {
		names.RepoTags[n] = ShortName(name)
	}
	return image.Named{Image: i.Stored, Names: names}
}

// ShortName returns a name as people write it: without what Docker adds to it.
func ShortName(name string) string { return strings.TrimPrefix(name, "docker.io/library/") }

// Select opens the image of a place that is called name, or of several the one for platform, by
// the rules of image.Select. If name is empty and there are other images, it warns.
func Select(ctx context.Context, src image.Source, name string, platform v1.Platform, opts Options) (*Image, error) {
	i, err := image.Select(ctx, src, name, platform)
	if err != nil {
		return nil, &RefError{Err: err}
	}
	if others := image.Others(src.List(), i); name == "" && others > 0 {
		opts.warn("%s holds %s besides %s, which is taken: say by name which one is meant", src, human.Count(others, "image"), listedName(src.List()[i], i))
	}
	return OpenNumber(ctx, src, i, opts)
}

// listedName returns an image's name for messages.
func listedName(l image.Listed, i int) string {
	if len(l.Names) == 0 {
		return fmt.Sprintf("@%d", i)
	}
	return strconv.Quote(l.Names[0])
}

// LackingError is the error of an image that its place lists but does not have.
type LackingError struct{ Err error }

func (e *LackingError) Error() string { return e.Err.Error() }

func (e *LackingError) Unwrap() error { return e.Err }

// OpenNumber opens the image at an index of the source's list. Reading its layers fails when
// they exceed the options' limits.
func OpenNumber(ctx context.Context, src image.Source, i int, opts Options) (*Image, error) {
	img, err := src.Open(ctx, i)
	listed := src.List()[i]
	if errors.Is(err, fs.ErrNotExist) && listed.Descriptor.Digest != "" {
		what := "an image"
		if p := listed.Descriptor.Platform; p != nil {
			what = "the image for " + ocijson.PlatformText(p)
		}
		return nil, &LackingError{fmt.Errorf("%s is listed, and not there: %w", what, err)}
	}
	if err != nil {
		return nil, err
	}
	img.Limit(image.NewBudget(opts.MaxUnpacked, opts.MaxEntries))
	what := "image " + listedName(listed, i)
	if d := img.ManifestDescriptor.Digest; d != "" {
		what = "manifest " + d.String()
	}
	opts.debug("%s: %s, %s", src, what, human.Count(len(img.DiffIDs), "layer"))
	return &Image{img, listed.Names}, nil
}
