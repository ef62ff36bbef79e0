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
	// Write writes images there, under their names, and returns the result for each, in their
	// order. A place of files, such as an archive, gets all of them or stays as it was. A
	// registry or an engine gets one after the other: with an error, Write returns those that it
	// has by then. observe, if not nil, is called for each layer, by one goroutine at a time.
	Write(ctx context.Context, images []Named, observe func(Event)) ([]Written, error)
}

// IndexTarget is a Target that can hold an index, one image for several platforms.
type IndexTarget interface {
	Target
	// WriteIndex writes an index with its images.
	WriteIndex(ctx context.Context, x *Index, observe func(Event)) (Written, error)
}

// Written describes an image or an index as a target has it.
type Written struct {
	// Names are its names there, as people write them; in a registry, each with the registry's
	// host.
	Names []string
	// ID is the image id that it was written with: the target may have to change a config. It is
	// empty for an index.
	ID digest.Digest
	// Manifest describes the manifest or index that was written; it is empty where the target
	// has none.
	Manifest v1.Descriptor
	// Present says that the target had it already, and nothing was sent.
	Present bool
}

// CollisionError says that two images would have the same name at a target.
type CollisionError struct{ Name string }

func (e *CollisionError) Error() string {
	return fmt.Sprintf("two images would both be called %q", e.Name)
}

// Output creates a file that fill writes; it appears whole or not at all.
type Output func(fill func(io.Writer) error) error
