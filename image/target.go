package image

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Target is a place that images are written to.
type Target interface {
	// String names the place in messages.
	String() string
	// Write writes images there, by their names, and returns what became of each, in their
	// order. A place of files, such as an archive, has all of them or stays as it was. A
	// registry or an engine gets one after the other: with an error come those that it has by
	// then. observe, if not nil, is told of each layer, from one goroutine at a time.
	Write(ctx context.Context, images []Named, observe func(Event)) ([]Written, error)
}

// IndexTarget is a Target that has a place for an index, one image for several platforms.
type IndexTarget interface {
	Target
	// WriteIndex writes an index with its images.
	WriteIndex(ctx context.Context, x *Index, observe func(Event)) (Written, error)
}

// Written is what became of an image, or an index, at a target.
type Written struct {
	// Names are what it is called there, as people write them; of an image that a registry has,
	// each with the registry's host.
	Names []string
	// ID is the image id by which it was written: the target may have to change a config.
	// It is empty for an index.
	ID digest.Digest
	// Manifest describes the manifest or index that was written; it is empty where the target
	// has none.
	Manifest v1.Descriptor
	// Present says that the target had it already, and nothing was sent.
	Present bool
}

// CollisionError says that two images would be called the same at a target.
type CollisionError struct{ Name string }

func (e *CollisionError) Error() string {
	return fmt.Sprintf("two images would both be called %q", e.Name)
}

// Output has fill write a file, which appears whole or not at all.
type Output func(fill func(io.Writer) error) error
