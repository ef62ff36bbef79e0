package ocilayout

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// Description is what WriteArchive writes of an image, besides names and layers.
type Description struct {
	Config, Manifest image.Document
	// Layers are the layers' blobs, the lowest first.
	Layers []v1.Descriptor
}

// Describe returns what WriteArchive writes of an image with Options.Plain. It reads layers only to
// know their diffIDs.
func Describe(ctx context.Context, img image.Image, opts Options) (d Description, err error) {
	opts.Plain = true
	p := packer{omit: func(digest.Digest, v1.Descriptor) bool { return true }}
	if d.Layers, err = p.run(ctx, img, opts, nil); err != nil {
		return d, err
	}
	d.Config, d.Manifest, err = opts.describe(ctx, 0, img, d.Layers, false)
	return d, err
}
