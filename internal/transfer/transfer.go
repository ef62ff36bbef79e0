// Package transfer moves images between places: it copies them, alone or for all platforms,
// makes one index or one archive of several, and puts them on another base.
//
// Guarantees:
//
//   - Layers are passed on as they are stored, where the destination can hold them like that.
//   - What cannot be kept is reported to Options.Advise, and what is odd about a
//     source to Options.Places.Warn; either is written all the same.
//   - Sources are closed when a function returns.
//
// Non-goals: what a reference means, and which of several images it chooses (package place).
package transfer

import (
	"cmp"
	"context"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/tally"
)

// Options says how to read and write images. The zero value works for references without a
// choice of platforms.
type Options struct {
	// Places holds what places need.
	Places place.Options
	// Wanted says which of several images to choose.
	Wanted place.Wanted
	// Advise, where it is set, is called with what gets lost: a *NamelessError.
	Advise func(error)
	// Progress, where it is set, is called before layers are written, with their number; with 0,
	// the events say how many. observe is then called for each, and done at the end.
	Progress func(ctx context.Context, layers int, title string) (observe func(image.Event), done func())
}

func (o Options) warn(format string, args ...any) {
	if o.Places.Warn != nil {
		o.Places.Warn(fmt.Sprintf(format, args...))
	}
}

func (o Options) progress(ctx context.Context, layers int, title string) (observe func(image.Event), done func()) {
	if o.Progress == nil {
		return nil, func() {}
	}
	return o.Progress(ctx, layers, title)
}

// Destination is where images are written to.
type Destination struct {
	place.Ref
	// Text is the reference as it was written, for messages.
	Text string
	// Compression is the archive's in a docker-archive, the layers' elsewhere.
	Compression compress.Compression
}

// To reads a reference to a destination of existing images: archives are compressed as their
// name says.
func To(text string) (Destination, error) {
	ref, err := place.ParseTarget(text)
	if err != nil {
		return Destination{}, err
	}
	d := Destination{Ref: ref, Text: text}
	switch algorithm, ok := ref.Archived(); {
	case d.Transport == place.LayerDir:
		return d, &place.RefError{Err: fmt.Errorf("destination %q: an image is more than one layer; build makes it of a spec", text)}
	case ok:
		d.Compression.Algorithm = algorithm
	case d.Transport == place.DockerArchive:
		d.Compression.Algorithm = compress.None
	}
	return d, nil
}

// Compress has images compressed as compressor says, which option of the caller's asks
// for. A name that says something else is refused. A stream to standard output becomes a
// docker-archive, for an archive with a layout is not compressed.
func (d *Destination) Compress(compressor, option string) error {
	c, err := compress.Parse(compressor)
	if err != nil {
		return err
	}
	if d.Transport == place.Archive && d.Path == "-" && c.Algorithm != compress.None {
		d.Transport = place.DockerArchive
	}
	if _, byName := place.ArchiveCompression(d.Path); d.Transport == place.Archive && !byName && c.Algorithm != compress.None {
		return fmt.Errorf("%q is to be an archive with an OCI layout, which is not compressed: leave out %s, or write docker-archive:%s", d.Path, option, d.Path)
	}
	if named, known := d.Archived(); known && named != c.Algorithm {
		return fmt.Errorf("the name %q says compression %q and %s %q: change one of them", d.Path, named, option, compressor)
	}
	d.Compression = c
	return nil
}

// CheckIndex refuses a destination that can hold images for one platform only.
func (d Destination) CheckIndex() error { return d.Ref.CheckIndex(cmp.Or(d.Text, d.String())) }

func (d Destination) options(opts Options) place.TargetOptions {
	return place.TargetOptions{Options: opts.Places, Compression: d.Compression}
}

// Sent describes an image or an index that a destination has now.
type Sent struct {
	image.Written
	// Target names the destination in messages.
	Target string
	// Layers is how many layers the image has; 0 for an index.
	Layers int
	// Images are what was written: the image, or those of an index; none where they were passed on
	// from registry to registry.
	Images []image.Image
	// Platforms are an index's platforms; empty for an image, and where an index was passed on
	// without looking at what it lists.
	Platforms []v1.Platform
}

// NamelessError says that an image loses its names where each has to be NAME:TAG.
type NamelessError struct {
	// Names are the names that it loses.
	Names []string
	Destination
}

func (e *NamelessError) Error() string {
	return fmt.Sprintf("%q is not NAME:TAG, which %q needs: the image is written without a name", e.Names[0], e.Destination.String())
}

// Write writes images to a destination; a destination with a name takes one image. With an error
// it returns the images that a registry or an engine has by then.
func Write(ctx context.Context, d Destination, images []image.Named, opts Options) ([]Sent, error) {
	target, err := place.To(ctx, d.Ref, d.options(opts))
	if err != nil {
		return nil, err
	}
	ctx = tally.With(ctx)
	for _, img := range images {
		image.Remember(img, opts.Places.StoredMemo(ctx))
	}
	observe, done := opts.progress(ctx, image.CountLayers(images), "writing "+images[0].Repository())
	defer done()
	for _, img := range images {
		if d.loses(img.Names) && opts.Advise != nil {
			opts.Advise(&NamelessError{img.RefNames, d})
		}
	}
	written, err := target.Write(ctx, images, observe)
	var sent []Sent
	for i, w := range written {
		sent = append(sent, Sent{Written: w, Target: target.String(), Layers: len(images[i].Layers()), Images: []image.Image{images[i].Image}})
	}
	return sent, err
}

// loses reports whether an image of these names has none at the destination.
func (d Destination) loses(names image.Names) bool {
	return d.Transport.HasRepoTags() && d.Name == "" && len(names.RepoTags) == 0 && len(names.RefNames) > 0
}
