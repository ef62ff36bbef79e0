package image

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is a place that images are read from: an archive, a layout, a
// repository of a registry. An engine's images come in an archive.
type Source interface {
	// String names the place in messages.
	String() string
	// List returns the images that there are, in the order of the place.
	List() []Listed
	// Open reads the manifest and the config of the image at an index of List.
	// Its layers can be read until Close.
	Open(ctx context.Context, i int) (*Stored, error)
	Close() error
}

// Artifact describes what a place holds that is not an image.
type Artifact struct {
	// Names are like those of images.
	Names  []string
	Digest digest.Digest
	// Type is its media type, or that of its content.
	Type string
}

// withArtifacts is a Source that may have artifacts.
type withArtifacts interface{ Artifacts() []Artifact }

// Listed is an image as its place lists it.
type Listed struct {
	// Names are the names that it has there.
	Names []string
	// ID identifies the image in its place: two entries with one ID are the same
	// image.
	ID string
	// Descriptor describes the manifest; it is empty where there is none.
	Descriptor v1.Descriptor
	// Index is the digest of the index that lists it as one of several
	// platforms; empty for none.
	Index digest.Digest
}
