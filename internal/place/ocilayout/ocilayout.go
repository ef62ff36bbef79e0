// Package ocilayout writes images as OCI image layouts, in a directory or in
// the tar of one (an oci-archive), and reads them.
//
// Guarantees:
//
//   - Bytes: blobs, manifest, index and archive depend on the image and the Options alone. In an
//     archive the members are in a fixed order, owned by 0:0, with the image's time.
//   - Whole or not at all: a new directory gets its name when everything is in it and on disk.
//     In an existing layout blobs come first and index.json last, each by a rename; a failure
//     removes what was added.
//   - One writer at a time: a layout is locked with flock(2) while it is written. Locks end with
//     their process, and what a killed process has left is removed by the next.
//   - An existing layout keeps what it has: other images, fields that this package does not
//     know, their order.
//   - What is read is checked: JSON is strict and limited in size, a blob's path is only formed
//     from a valid digest, symlinks and special files are refused without opening them, and no
//     blob ends without an error if its size or digest is not what its descriptor says.
//   - What is passed on keeps its digests, SHA-512 included; what is made here uses SHA-256.
//   - Nothing is held in memory or on disk beyond a few compressed layers.
//
// The directories of containers-image (dir:) hold the same in other files. They are read, and
// written only if new or empty.
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
	// AnnotationName is the annotation in which containerd, Docker and Podman find an image's
	// full name; org.opencontainers.image.ref.name, which skopeo and umoci look for, is its tag.
	AnnotationName = "io.containerd.image.name"

	blobDir       = "blobs/sha256"
	blobDir512    = "blobs/sha512"
	indexName     = v1.ImageIndexFile
	layoutName    = v1.ImageLayoutFile
	layoutVersion = v1.ImageLayoutVersion
	layoutContent = `{"imageLayoutVersion": "` + layoutVersion + `"}`
)

// Options says how to write an image. The zero value compresses with gzip and keeps the image's
// names.
type Options struct {
	// Compression says how to compress layers.
	Compression compress.Compression
	// RefName is the name of the one image within the layout, REFNAME in oci:PATH:REFNAME; it
	// defaults to the tag of each of its names, and to the full name where two would be the
	// same. A layout has one image for each name: the last one written. An image without a name
	// replaces no other. The image's RefNames are kept as well.
	RefName string
	// TempDir is where WriteArchive keeps compressed layers, a few at a time and without a name;
	// it defaults to the system's directory for such files. WriteDir uses only the layout's
	// directory.
	TempDir string
	// Memo, where it is set, remembers what layers are compressed to.
	Memo image.Memo
	// Plain compresses only the layers whose compressed form the memo knows. All others are their
	// tars, which WriteArchive writes without a temporary file.
	Plain bool
	// Omit, where it is set, reports whether WriteArchive leaves out a layer, though the manifest
	// lists it: who reads the archive has it. It is given its diffID and its blob.
	Omit func(diffID digest.Digest, blob v1.Descriptor) bool
	// Observe, where it is set, is called for each layer, by one goroutine at a time.
	Observe func(image.Event)
	// described, where it is set, is called for each image, with its number and how it was
	// written.
	described func(i int, config, manifest v1.Descriptor)
}

// BlobPath returns where a layout has a blob (image-layout.md). d must be valid.
func BlobPath(d digest.Digest) string {
	return path.Join("blobs", d.Algorithm().String(), d.Encoded())
}

// indexNumber is the number that stands for an index in described.
const indexNumber = -1

// content is what to write: images, or an index of several.
type content struct {
	images []image.Named
	index  *image.Index // nil for images by themselves
}

// indexed returns the content of an index with its images, whose own names do not matter.
func indexed(x *image.Index) content {
	c := content{index: x}
	for _, img := range x.Images {
		c.images = append(c.images, image.Named{Image: img})
	}
	return c
}

// observe returns the observer of the layers of one of the images.
func (c content) observe(i int, opts Options) func(image.Event) {
	return image.Observe(c.images, i, opts.Observe)
}

// describe returns the config and the manifest of an image whose layers have been written.
// docker keeps a Docker manifest.
func (o Options) describe(ctx context.Context, i int, img image.Image, layers []v1.Descriptor, docker bool) (config, manifest image.Document, err error) {
	config, manifest, err = image.Manifest(ctx, img, layers, docker)
	if err == nil && o.described != nil {
		o.described(i, config.Descriptor, manifest.Descriptor)
	}
	return config, manifest, err
}

// tops returns what index.json lists, with each of their names: the images' manifests or, for an
// image for several platforms, the index of these, which then has to be written.
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

// names returns the annotations by which tools find an image in a layout; nil for an image that
// is passed on and never had a name.
func names(name reference.NamedTagged, refName string) map[string]string {
	switch {
	case name == nil && refName == "":
		return nil
	case name == nil:
		return map[string]string{v1.AnnotationRefName: refName}
	}
	return map[string]string{AnnotationName: name.String(), v1.AnnotationRefName: refName}
}

// check reports errors that can be found before any work is done.
func (o Options) check() error {
	if o.RefName != "" && !image.IsRefName(o.RefName) {
		return fmt.Errorf("name %q of an image in a layout: want letters, digits and any of %q, 255 at most", o.RefName, "._:@+/-")
	}
	return o.Compression.Check()
}

// layoutFile returns the content of oci-layout.
func layoutFile() []byte { return []byte(layoutContent) }
