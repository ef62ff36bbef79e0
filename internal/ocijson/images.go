package ocijson

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxNested limits all nested indexes together, in bytes, each counted as often
	// as it is nested: a few small ones can stand for millions of images.
	maxNested = 8 << 20
	// nestedCost is the minimum that an index counts for.
	nestedCost = 4 << 10
)

// Listed is an image that an index lists, directly or through a nested index.
type Listed struct {
	// Descriptor is the manifest's descriptor.
	Descriptor v1.Descriptor
	// Top is the descriptor in the outermost index that led there, and Depth the
	// number of indexes between.
	Top   v1.Descriptor
	Depth int
}

// Images lists the images of an index in order, including those of nested indexes
// and leaving out attestations. fetch returns the bytes of a nested index, checked
// against its descriptor.
func Images(index []v1.Descriptor, fetch func(v1.Descriptor) ([]byte, error)) ([]Listed, error) {
	w := &walker{fetch: fetch, left: maxNested}
	for _, d := range index {
		if err := w.visit(d, d, 0); err != nil {
			return nil, err
		}
	}
	return w.images, nil
}

// Distinct returns the manifests of images, each once.
func Distinct(images []Listed) []v1.Descriptor {
	known := map[digest.Digest]bool{}
	var manifests []v1.Descriptor
	for _, i := range images {
		if !known[i.Descriptor.Digest] {
			known[i.Descriptor.Digest] = true
			manifests = append(manifests, i.Descriptor)
		}
	}
	return manifests
}

type walker struct {
	fetch  func(v1.Descriptor) ([]byte, error)
	images []Listed
	left   int
}

func (w *walker) visit(d, top v1.Descriptor, depth int) error {
	switch {
	case IsAttestation(d):
	case IsManifest(d.MediaType):
		if len(w.images) == MaxDescriptors {
			return fmt.Errorf("more than %d images", MaxDescriptors)
		}
		w.images = append(w.images, Listed{d, top, depth})
	case IsArtifact(d): // an index of artifacts is left alone
	case IsIndex(d.MediaType):
		return w.nested(d, top, depth)
	}
	return nil
}

func (w *walker) nested(d, top v1.Descriptor, depth int) error {
	if depth == MaxNesting {
		return fmt.Errorf("index %s: nested deeper than %d levels", d.Digest, MaxNesting)
	}
	if w.left -= int(max(nestedCost, min(d.Size, MaxSize))); w.left < 0 {
		return fmt.Errorf("index %s: the nested indexes have together more than %d bytes", d.Digest, maxNested)
	}
	data, err := w.fetch(d)
	if err != nil {
		return err
	}
	_, children, err := ParseIndex(data)
	if err != nil {
		return fmt.Errorf("index %s: %w", d.Digest, err)
	}
	for _, c := range children {
		if err := w.visit(c, top, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// CheckType compares the type that a manifest or index states with the type in its
// descriptor.
func CheckType(data []byte, d v1.Descriptor) error {
	got, err := MediaType(data)
	if err == nil && got != d.MediaType {
		err = fmt.Errorf("it is of type %q, but was announced as %q", got, d.MediaType)
	}
	return err
}
