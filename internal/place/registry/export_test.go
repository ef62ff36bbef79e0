package registry

import (
	"context"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// PushManifests pushes an index of manifests that the repository has.
func PushManifests(ctx context.Context, ref string, manifests []v1.Descriptor, annotations map[string]string, opts Options) (v1.Descriptor, error) {
	doc, err := (&image.Index{Annotations: annotations}).Document(manifests)
	if err != nil {
		return v1.Descriptor{}, err
	}
	p, err := newPusher(ctx, ref, PushOptions{Options: opts})
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer p.client.policy.closeIdle()
	return doc.Descriptor, p.manifest(ctx, p.client.ref, doc)
}
