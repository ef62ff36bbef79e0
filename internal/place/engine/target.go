package engine

import (
	"context"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// Target is an engine that images are loaded into. An index is an error in one that keeps images for
// one platform each.
type Target struct {
	Engine Engine
	// RepoTag is the name of the one image in the engine; it defaults to the image's own names.
	RepoTag string
	// Archive writes an image; observe, if not nil, is called for each layer.
	Archive func(img image.Named, observe func(image.Event)) Archive
	// IndexArchive writes an index with its images.
	IndexArchive func(x *image.Index, observe func(image.Event)) Archive
}

// String names the engine and where it is.
func (t *Target) String() string { return t.Engine.String() }

// Write loads images one after the other, each if the engine lacks it.
func (t *Target) Write(ctx context.Context, images []image.Named, observe func(image.Event)) ([]image.Written, error) {
	var written []image.Written
	for i, img := range images {
		if t.RepoTag != "" {
			img.Names = img.Renamed(t.RepoTag)
		}
		loaded, err := Load(ctx, t.Engine, img, t.Archive(img, image.Observe(images, i, observe)))
		if err != nil {
			return written, err
		}
		written = append(written, image.Written{
			Names: loaded.Names, ID: loaded.ID, Manifest: v1.Descriptor{Digest: loaded.Manifest}, Present: loaded.Present,
		})
	}
	return written, nil
}

// WriteIndex loads an index with its images (image.IndexTarget).
func (t *Target) WriteIndex(ctx context.Context, x *image.Index, observe func(image.Event)) (image.Written, error) {
	if t.RepoTag != "" {
		named := *x
		named.Names = image.NamesFor([]string{t.RepoTag}, "")
		x = &named
	}
	loaded, err := LoadIndex(ctx, t.Engine, x, t.IndexArchive(x, observe))
	return image.Written{Names: loaded.Names, Manifest: v1.Descriptor{Digest: loaded.Manifest}, Present: loaded.Present}, err
}
