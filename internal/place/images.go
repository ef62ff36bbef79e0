package place

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/problems"
)

// Wanted says which of several images to choose.
type Wanted struct {
	// Platform is the platform to choose.
	Platform v1.Platform
	// Only refuses, or leaves out, images for other platforms. Without it a single image is
	// taken, whatever its platform.
	Only bool
}

// Images holds images of a place, which can be read until Close.
type Images struct {
	List []*Image
	// Asked is the name in the reference; empty where there is none.
	Asked string

	source image.Source
}

// Close closes the place.
func (x *Images) Close() error { return x.source.Close() }

// Named returns the images with the names that a copy keeps.
func (x *Images) Named() []image.Named {
	var all []image.Named
	for _, img := range x.List {
		all = append(all, img.Named(x.Asked))
	}
	return all
}

// OpenImages opens the images that a reference names: all of a place, or the one with a name. Of
// an image for several platforms it opens the one for the wanted platform.
func OpenImages(ctx context.Context, text string, want Wanted, opts Options) (*Images, error) {
	opts = want.options(opts)
	return openRef(ctx, text, opts, func(src image.Source, name string) ([]*Image, error) {
		if name == "" {
			return openEach(ctx, src, want, opts)
		}
		return openWanted(ctx, src, name, want, opts)
	})
}

// OpenImage opens the one image that a reference names. If the reference has no name and there
// are other images, it warns.
func OpenImage(ctx context.Context, text string, want Wanted, opts Options) (*Images, error) {
	opts = want.options(opts)
	return openRef(ctx, text, opts, func(src image.Source, name string) ([]*Image, error) {
		return openWanted(ctx, src, name, want, opts)
	})
}

// OpenPlatforms opens the images that a reference names; of an index, those for all platforms.
func OpenPlatforms(ctx context.Context, text string, opts Options) (*Images, error) {
	return openRef(ctx, text, opts, func(src image.Source, name string) ([]*Image, error) {
		all, err := image.SelectAll(ctx, src, name)
		if err != nil {
			return nil, &RefError{Err: err}
		}
		return openNumbers(ctx, src, all, opts)
	})
}

// openRef opens the place that a reference names, and the images there that choose chooses.
func openRef(ctx context.Context, text string, opts Options, choose func(src image.Source, name string) ([]*Image, error)) (*Images, error) {
	ref, err := ParseSource(text)
	if err != nil {
		return nil, err
	}
	src, name, err := Open(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	list, err := choose(src, name)
	if err != nil {
		src.Close()
		return nil, err
	}
	return &Images{list, name, src}, nil
}

// openWanted opens the image with a name.
func openWanted(ctx context.Context, src image.Source, name string, want Wanted, opts Options) ([]*Image, error) {
	img, err := Select(ctx, src, name, want.Platform, opts)
	if err != nil {
		return nil, err
	}
	return []*Image{img}, want.Check(src, img.Stored)
}

// options returns the options with which Open looks for what is wanted.
func (w Wanted) options(opts Options) Options {
	if !w.Only {
		return opts
	}
	return opts.For(w.Platform)
}

// Check refuses a single image that is not for the platform.
func (w Wanted) Check(src image.Source, img *image.Stored) error {
	if !w.Only {
		return nil
	}
	if err := img.CheckFor(w.Platform); err != nil {
		return refError("read %s: %w", src, err)
	}
	return nil
}

// openEach opens all images of a place, each with all of its names there.
func openEach(ctx context.Context, src image.Source, want Wanted, opts Options) ([]*Image, error) {
	each, err := selectEach(ctx, src, want, opts)
	if err != nil {
		return nil, &RefError{Err: err}
	}
	numbers := make([]int, len(each))
	for n, c := range each {
		numbers[n] = c.Number
	}
	images, err := openNumbers(ctx, src, numbers, opts)
	if err != nil {
		return nil, err
	}
	for n, img := range images {
		img.Names = each[n].Names
		if err := want.Check(src, img.Stored); err != nil {
			return nil, err
		}
	}
	return images, nil
}

func selectEach(ctx context.Context, src image.Source, want Wanted, opts Options) ([]image.Choice, error) {
	if !want.Only {
		return image.SelectEach(ctx, src, want.Platform)
	}
	each, others, err := image.SelectFor(ctx, src, want.Platform)
	if others > 0 {
		opts.warn("%s: left out: %s for other platforms than %s", src, human.Count(others, "image"), ocijson.PlatformText(&want.Platform))
	}
	return each, err
}

// maxDocuments limits the manifests and configs of all images that are opened at once, in bytes.
const maxDocuments = 32 << 20

// openNumbers opens images by their numbers in their place. It reports all that are not there at
// once.
func openNumbers(ctx context.Context, src image.Source, numbers []int, opts Options) ([]*Image, error) {
	var images []*Image
	var missing problems.List
	size := 0
	for n, i := range numbers {
		img, err := OpenNumber(ctx, src, i, opts)
		var lacks *LackingError
		switch {
		case errors.As(err, &lacks):
			missing.Add(err)
			continue
		case err != nil:
			return nil, err
		}
		if size += len(img.Manifest) + len(img.ConfigJSON); size > maxDocuments && n > 0 {
			err := refError("%s: the manifests and configs of its images have together more than %d bytes", src, maxDocuments)
			err.Hints = []string{"name one of them"}
			return nil, err
		}
		images = append(images, img)
	}
	return images, missing.Err()
}

// Document returns the document that the reference names, as it is stored: the index, the
// manifest, or a docker-archive's manifest.json; nil for none. It is an error if the images were
// not chosen from a single document. text is the reference as it was written.
func (x *Images) Document(text string) ([]byte, error) {
	raw := x.List[0].Raw
	if slices.ContainsFunc(x.List, func(img *Image) bool { return !bytes.Equal(img.Raw, raw) }) {
		return nil, x.Several(text)
	}
	return raw, nil
}

// Several returns an error saying that the reference names several images. text is the reference
// as it was written.
func (x *Images) Several(text string) error {
	var names []string
	for i, img := range x.List {
		if len(img.Names) == 0 {
			names = append(names, fmt.Sprintf("@%d", i))
		}
		for _, n := range img.Names {
			names = append(names, human.Plain(n))
		}
	}
	err := refError("%s holds %d images", Quote(text), len(x.List))
	err.Hints = []string{"say which: " + strings.Join(names, ", ")}
	return err
}

// WarnOdd warns of an image whose platform is not the one that its place says: it may run all
// the same, and a copy changes neither. text is the reference as it was written.
func (o Options) WarnOdd(text string, img *image.Stored) {
	if err := img.CheckPlatform(); err != nil {
		o.warn("%s: %v", Quote(text), err)
	}
}

// Quote returns a reference to images as messages write it.
func Quote(text string) string {
	if text == "-" {
		return StdinName
	}
	return strconv.Quote(text)
}
