package engine

import (
	"context"
	"io"

	"github.com/varve-image/varve/image"
)

// Target is an engine that images are loaded into.
type Target struct {
	Engine Engine
	// RepoTag is the name of the one image in the engine; it defaults to the image's own names.
	RepoTag string
	// Archive writes an image as an uncompressed docker-archive, as dockerarchive.Write does.
	Archive func(ctx context.Context, w io.Writer, img image.Named, observe func(image.Event)) error
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
		loaded, err := Load(ctx, t.Engine, img, func(ctx context.Context, w io.Writer) error {
			return t.Archive(ctx, w, img, image.Observe(images, i, observe))
		})
		if err != nil {
			return written, err
		}
		written = append(written, image.Written{Names: loaded.Names, ID: loaded.ID, Present: loaded.Present})
	}
	return written, nil
}
