package ocilayout

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// Description is what WriteArchive and WriteIndexArchive write, besides names.
type Description struct {
	// Top is the manifest of an image, or the index.
	Top v1.Descriptor
	// Layers are the layers' blobs, the lowest first; of an index, those of each image in turn.
	Layers []v1.Descriptor
}

// Describe returns what WriteArchive writes of an image with Options.Plain. It reads layers only to
// know their diffIDs.
func Describe(ctx context.Context, img image.Image, opts Options) (Description, error) {
	return describeAll(ctx, content{images: []image.Named{{Image: img}}}, opts)
}

// DescribeIndex does so for WriteIndexArchive.
func DescribeIndex(ctx context.Context, index *image.Index, opts Options) (Description, error) {
	return describeAll(ctx, indexed(index), opts)
}

func describeAll(ctx context.Context, c content, opts Options) (d Description, err error) {
	opts.Plain = true
	p := packer{omit: func(digest.Digest, v1.Descriptor) bool { return true }}
	var manifests []v1.Descriptor
	for i, img := range c.images {
		layers, err := p.run(ctx, img, opts, nil)
		if err != nil {
			return d, err
		}
		_, manifest, err := opts.describe(ctx, i, img, layers, false)
		if err != nil {
			return d, err
		}
		d.Layers, manifests = append(d.Layers, layers...), append(manifests, manifest.Descriptor)
	}
	if c.index == nil {
		d.Top = manifests[0]
		return d, nil
	}
	doc, err := c.index.Document(manifests)
	d.Top = doc.Descriptor
	return d, err
}
