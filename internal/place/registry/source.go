package registry

import (
	"context"
	"fmt"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
)

// String names the reference in messages.
func (r *Resolved) String() string { return fmt.Sprintf("image %q", r.client.ref) }

// List returns Manifests as the images of a source.
func (r *Resolved) List() []image.Listed {
	list := make([]image.Listed, len(r.Manifests))
	for i, d := range r.Manifests {
		list[i] = image.Listed{Names: r.names(), ID: d.Digest.String(), Descriptor: d}
		if ocijson.IsIndex(r.Descriptor.MediaType) {
			list[i].Index = r.Descriptor.Digest
		}
	}
	return list
}

// names returns the reference and, without its digest, the name that it may have
// elsewhere.
func (r *Resolved) names() []string {
	ref := r.client.ref
	names := []string{ref.String()}
	if ref.digest != "" && ref.tag != "" {
		names = append(names, ref.name()+":"+ref.tag)
	}
	return names
}

// Open opens an image of List.
func (r *Resolved) Open(ctx context.Context, i int) (*image.Stored, error) {
	img, err := r.Image(ctx, r.Manifests[i])
	if err == nil {
		img.Raw = r.Raw
	}
	return img, err
}

// Close does nothing: connections close by themselves.
func (r *Resolved) Close() error { return nil }
