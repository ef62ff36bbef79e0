// Package ocilayout writes images as OCI image layouts, in a directory or in
// the tar of one (an oci-archive), and reads them.
//
// Guarantees:
//
//   - Bytes: blobs, manifest, index and archive depend on the image and the
//     Options alone. In an archive the members stand in a fixed order, owned
//     by 0:0, with the image's time.
//   - Whole or not at all: a new directory gets its name when everything is
//     in it and on disk. In a layout that exists blobs come first and
//     index.json last, each by a rename; a failure takes away what was added.
//   - One writer at a time: a layout is locked with flock(2) while it is
//     written. Locks end with their process, and what a killed one has left
//     is removed by the next.
//   - A layout that exists keeps what it has: other images, fields that this
//     package does not know, their order.
//   - What is read is checked: JSON is strict and bounded, a blob's path is
//     only formed from a valid digest, symlinks and special files are
//     refused without opening them, and no blob ends without an error if its
//     size or digest is not what its descriptor says.
//   - What is passed on keeps its digests, SHA-512 included; what is made here has
//     SHA-256.
//   - Nothing is held in memory or on disk beyond a few compressed layers.
//
// The directories of containers-image (dir:) hold the same in other files. They are read,
// and written where nothing is.
//
// Non-goals: deleting images or blobs from a layout; network or engines.
//
// The format is that of OCI image-spec 1.1: image-layout.md, image-index.md,
// manifest.md, descriptor.md.
package ocilayout

import (
	"context"
	"fmt"
	"path"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
)

const (
	// AnnotationName is where containerd, Docker and Podman find an image's
	// full name; org.opencontainers.image.ref.name, which skopeo and umoci
	// look for, is its tag.
	AnnotationName = "io.containerd.image.name"

	blobDir       = "blobs/sha256"
	blobDir512    = "blobs/sha512"
	indexName     = v1.ImageIndexFile
	layoutName    = v1.ImageLayoutFile
	layoutVersion = v1.ImageLayoutVersion
	layoutContent = `{"imageLayoutVersion": "` + layoutVersion + `"}`
)

// Options says how an image is written. The zero value compresses with gzip
// and names the image as it is called.
type Options struct {
	// Compression is how layers are compressed.
	Compression compress.Compression
	// RefName is what the one image is called within the layout, what follows the
	// path in oci:PATH:REFNAME; empty is the tag of each of its names, and the name in
	// full where two would be the same. A layout has one image of a name: the last
	// one written. One without a name takes no other's place. The image's RefNames are
	// kept besides.
	RefName string
	// TempDir is where WriteArchive keeps compressed layers, a few at a time
	// and without a name; empty is the system's place for such files.
	// WriteDir needs no place but the layout's.
	TempDir string
	// Observe, where it is set, is told of each layer, from one goroutine at
	// a time.
	Observe func(image.Event)
	// described, where it is set, is told of each image, by its number, how it was written.
	described func(i int, config, manifest v1.Descriptor)
}

// BlobPath is where a layout has a blob (image-layout.md). d is valid.
func BlobPath(d digest.Digest) string {
	return path.Join("blobs", d.Algorithm().String(), d.Encoded())
}

// indexNumber is the number by which an index is described.
const indexNumber = -1

// content is what is written: images, or an index of several.
type content struct {
	images []image.Named
	index  *image.Index // nil for images by themselves
}

// indexed is an index with its images, whose own names do not matter.
func indexed(x *image.Index) content {
	c := content{index: x}
	for _, img := range x.Images {
		c.images = append(c.images, image.Named{Image: img})
	}
	return c
}

// observe is the observer of the layers of one of the images.
func (c content) observe(i int, opts Options) func(image.Event) {
	return image.Observe(c.images, i, opts.Observe)
}

// describe returns the config and the manifest of an image whose layers are at
// hand. docker has a manifest of Docker's kept.
func (o Options) describe(ctx context.Context, i int, img image.Image, layers []v1.Descriptor, docker bool) (config, manifest image.Document, err error) {
	config, manifest, err = image.Manifest(ctx, img, layers, docker)
	if err == nil && o.described != nil {
		o.described(i, config.Descriptor, manifest.Descriptor)
	}
	return config, manifest, err
}

// tops are what index.json lists: the images' manifests, or the index of those of
// one for several platforms, which is to be written then; by each of their names.
func (c content) tops(ctx context.Context, manifests []v1.Descriptor, opts Options) (tops []v1.Descriptor, index *image.Document, err error) {
	if c.index == nil {
		used := newRefTable(namesOfEach(c.images)...)
		for i, img := range c.images {
			names, err := img.Tagged(ctx)
			if err != nil {
				return nil, nil, err
			}
			refs, err := names.References()
			if err != nil {
				return nil, nil, err
			}
			tops = append(tops, used.named(manifests[i], i, refs, opts.RefName)...)
		}
		return tops, nil, nil
	}
	doc, err := c.index.Document(manifests)
	if err != nil {
		return nil, nil, err
	}
	if opts.described != nil {
		opts.described(indexNumber, v1.Descriptor{}, doc.Descriptor)
	}
	names, err := c.index.Tagged(ctx)
	if err != nil {
		return nil, nil, err
	}
	refs, err := names.References()
	used := newRefTable(names)
	return used.named(doc.Descriptor, 0, refs, opts.RefName), &doc, err
}

// names are the annotations by which tools find an image in a layout. One that
// is passed on and never had a name has nil.
func names(name reference.NamedTagged, refName string) map[string]string {
	switch {
	case name == nil && refName == "":
		return nil
	case name == nil:
		return map[string]string{v1.AnnotationRefName: refName}
	}
	return map[string]string{AnnotationName: name.String(), v1.AnnotationRefName: refName}
}

// check refuses what can be refused before any work is done.
func (o Options) check() error {
	if o.RefName != "" && !image.IsRefName(o.RefName) {
		return fmt.Errorf("name %q of an image in a layout: want letters, digits and any of %q, 255 at most", o.RefName, "._:@+/-")
	}
	return o.Compression.Check()
}

// layoutFile is the content of oci-layout.
func layoutFile() []byte { return []byte(layoutContent) }
