package dockerarchive

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
)

// Target is a docker-archive that images are written to.
type Target struct {
	// Name is the archive's name in messages.
	Name string
	// Output writes the archive.
	Output image.Output
	// RepoTag is the name of the one image in the archive; it defaults to the image's own names.
	RepoTag string
	// Compression is the archive's.
	Compression compress.Compression
	// Options says how to write the archive.
	Options Options
}

// String names the archive in messages.
func (t *Target) String() string { return t.Name }

// Write writes images as one archive.
func (t *Target) Write(ctx context.Context, images []image.Named, observe func(image.Event)) ([]image.Written, error) {
	if t.RepoTag != "" {
		if len(images) != 1 {
			return nil, errors.New("a name is for one image")
		}
		images = slices.Clone(images)
		images[0].Names = images[0].Renamed(t.RepoTag)
	}
	opts := t.Options
	opts.Observe = observe
	if t.Compression.Algorithm != compress.None {
		opts.Compressor = t.Compression
	}
	err := t.Output(func(w io.Writer) error { return WriteAll(ctx, w, images, opts) })
	if err != nil {
		return nil, err
	}
	return Written(ctx, images)
}

// Written returns what a docker-archive of the images holds.
func Written(ctx context.Context, images []image.Named) ([]image.Written, error) {
	written := make([]image.Written, len(images))
	for i, img := range images {
		names, err := img.Tagged(ctx)
		if err != nil {
			return nil, err
		}
		written[i].Names = names.RepoTags
		if written[i].ID, err = image.ID(ctx, img); err != nil {
			return nil, err
		}
	}
	return written, nil
}
