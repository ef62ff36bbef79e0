package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/tally"
)

// IndexOptions describes the index to make.
type IndexOptions struct {
	// Name is its NAME:TAG; it defaults to one that all its images have, if there is one.
	Name        string
	Annotations map[string]string
	// Platforms are the platforms whose images it gets; empty means all.
	Platforms []v1.Platform
}

// Index makes an index of the images that references name, including all images of an index that
// they name, and writes it with them.
func Index(ctx context.Context, refs []string, d Destination, x IndexOptions, opts Options) (Sent, error) {
	if err := d.CheckIndex(); err != nil {
		return Sent{}, err
	}
	var p parts
	defer p.close()
	if err := p.open(ctx, refs, x.Platforms, opts); err != nil {
		return Sent{}, err
	}
	index := &image.Index{Annotations: x.Annotations}
	for _, img := range p.images {
		index.Images = append(index.Images, img.Stored)
	}
	index.Names = commonNames(p.images)
	if x.Name != "" {
		if _, _, err := image.SplitRepoTag(x.Name); err != nil {
			return Sent{}, &place.RefError{Err: err}
		}
		index.Names = image.Names{RepoTags: []string{x.Name}}
	}
	return WriteIndex(ctx, d, index, opts)
}

// parts are the images to put in an index.
type parts struct {
	images []*place.Image
	opened []*place.Images
}

func (p *parts) close() {
	for _, o := range p.opened {
		o.Close()
	}
}

// open opens all images of each reference, or those for the platforms.
func (p *parts) open(ctx context.Context, refs []string, platforms []v1.Platform, opts Options) error {
	from := map[string]string{} // references, by platform
	for _, ref := range refs {
		found, err := place.OpenPlatforms(ctx, ref, opts.Places)
		if err != nil {
			return err
		}
		p.opened = append(p.opened, found)
		for _, img := range found.List {
			own := img.Platform()
			if len(platforms) > 0 && !slices.ContainsFunc(platforms, func(want v1.Platform) bool { return ocijson.Matches(want, &own) }) {
				continue
			}
			key := ocijson.Key(own)
			if other, ok := from[key]; ok {
				return &place.RefError{Err: fmt.Errorf("%s and %s both have an image for %s: an index has one", other, place.Quote(ref), ocijson.PlatformText(&own))}
			}
			from[key] = place.Quote(ref)
			opts.Places.WarnOdd(ref, img.Stored)
			p.images = append(p.images, img)
		}
	}
	return p.check(platforms)
}

// check returns an error if images are missing.
func (p *parts) check(platforms []v1.Platform) error {
	var descs []v1.Descriptor
	for _, img := range p.images {
		own := img.Platform()
		descs = append(descs, v1.Descriptor{Platform: &own})
	}
	for _, want := range platforms {
		if _, err := ocijson.Choose(descs, want); err != nil { // there is one
			return &place.RefError{Err: err}
		}
	}
	if len(p.images) == 0 {
		return errors.New("the references hold no image")
	}
	return nil
}

// commonNames returns the first NAME:TAG that all images have, or else the first other name.
func commonNames(images []*place.Image) image.Names {
	lists := make([][]string, len(images))
	for i, img := range images {
		for _, name := range img.Names {
			lists[i] = append(lists[i], place.ShortName(name))
		}
	}
	var other image.Names
	for _, name := range lists[0] {
		if slices.ContainsFunc(lists, func(list []string) bool { return !slices.Contains(list, name) }) {
			continue
		}
		kept := image.NamesFor([]string{name}, "")
		if len(kept.RepoTags) > 0 {
			return kept
		}
		if len(other.RefNames) == 0 {
			other = kept
		}
	}
	return other
}

// WriteIndex writes an index and its images to a destination.
func WriteIndex(ctx context.Context, d Destination, x *image.Index, opts Options) (Sent, error) {
	target, err := place.ToIndex(ctx, d.Ref, d.String(), d.options(opts))
	if err != nil {
		return Sent{}, err
	}
	ctx = tally.With(ctx)
	for _, img := range x.Images {
		image.Remember(img, opts.Places.StoredMemo(ctx))
	}
	observe, done := opts.progress(ctx, image.CountLayers(x.Images), "writing "+x.Repository())
	defer done()
	written, err := target.WriteIndex(ctx, x, observe)
	if err != nil {
		return Sent{}, fmt.Errorf("write index to %q: %w", d.String(), err)
	}
	sent := Sent{Written: written, Target: target.String(), Images: x.Images}
	for _, img := range x.Images {
		sent.Platforms = append(sent.Platforms, img.Platform())
	}
	return sent, nil
}
