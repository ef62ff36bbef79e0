package image

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is a place that images come from: an archive, a layout, a repository of
// a registry. What an engine gives is an archive.
type Source interface {
	// String names the place in messages.
	String() string
	// List returns what images there are, in the order of the place.
	List() []Listed
	// Open reads the manifest and the config of the image at an index of List.
	// Its layers can be read until Close.
	Open(ctx context.Context, i int) (*Stored, error)
	Close() error
}

// Artifact is what a place has beside its images.
type Artifact struct {
	// Names are as those of images.
	Names  []string
	Digest digest.Digest
	// Type is its media type, or that of its content.
	Type string
}

// withArtifacts is a Source that may have some.
type withArtifacts interface{ Artifacts() []Artifact }

// Listed is an image as its place lists it.
type Listed struct {
	// Names are the names that it has there.
	Names []string
	// ID tells what is listed twice: an image has one ID in its place.
	ID string
	// Descriptor is the manifest's; it is empty where there is none.
	Descriptor v1.Descriptor
	// Index is the digest of the index that it is in, as one of several for
	// platforms; empty for none.
	Index digest.Digest
}
