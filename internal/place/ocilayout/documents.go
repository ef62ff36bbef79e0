package ocilayout

import (
	"context"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
)

// Documents makes the documents of a layout whose files somebody else writes.
type Documents struct {
	content   content
	opts      Options
	manifests []v1.Descriptor
}

// NewDocuments returns the documents of a layout of images.
func NewDocuments(images []image.Named, opts Options) *Documents {
	return &Documents{content: content{images: images}, opts: opts}
}

// NewIndexDocuments returns the documents of a layout of an index with its images.
func NewIndexDocuments(index *image.Index, opts Options) *Documents {
	return &Documents{content: indexed(index), opts: opts}
}

// Images returns the images in their order.
func (d *Documents) Images() []image.Named { return d.content.images }

// File returns oci-layout.
func (d *Documents) File() []byte { return layoutFile() }

// Image returns the config and the manifest of an image, whose layers are described. It is called
// once for each image, in their order.
func (d *Documents) Image(ctx context.Context, i int, layers []v1.Descriptor) (config, manifest image.Document, err error) {
	config, manifest, err = d.opts.describe(ctx, i, d.content.images[i], layers, false)
	d.manifests = append(d.manifests, manifest.Descriptor)
	return config, manifest, err
}

// Index returns index.json and, for an index with its images, that index.
func (d *Documents) Index(ctx context.Context) (top []byte, index *image.Document, err error) {
	tops, index, err := d.content.tops(ctx, d.manifests, d.opts)
	if err != nil {
		return nil, nil, err
	}
	top, err = ocijson.Index(tops, nil)
	return top, index, err
}
