package image

import (
	"context"
	"fmt"
	"io"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// Blobs is a place that stores the parts of images by their digests.
type Blobs interface {
	// Document reads an index, a manifest or a config and compares it with d. A
	// size below 0 means unknown.
	Document(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// Fetch opens a layer as it is stored. Those who read it compare it with d.
	Fetch(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
}

// Open opens the image of a manifest and checks that manifest and config belong
// together. Its layers are fetched when they are read. repository is the
// registry's repository that has them, HOST/NAME, for pushes that mount them
// from there; empty where no registry has them.
func Open(ctx context.Context, manifest v1.Descriptor, from Blobs, repository string) (*Stored, error) {
	data, err := from.Document(ctx, manifest)
	if err != nil {
		return nil, err
	}
	if what := ocijson.Artifact(data); what != "" {
		return nil, fmt.Errorf("manifest %s is of no image, but of an artifact of type %q", manifest.Digest, what)
	}
	config, layers, err := ocijson.ParseManifest(data)
	if err == nil {
		err = ocijson.CheckType(data, manifest)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", manifest.Digest, err)
	}
	configJSON, err := from.Document(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("config of manifest %s: %w", manifest.Digest, err)
	}
	_, ids, err := ParseConfig(configJSON)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", config.Digest, err)
	}
	if len(ids) != len(layers) {
		return nil, fmt.Errorf("config %s has %d diff_ids, manifest %s has %d layers", config.Digest, len(ids), manifest.Digest, len(layers))
	}
	blobs := make([]StoredLayer, len(layers))
	for i, d := range layers {
		blobs[i] = &layer.Blob{
			Name: d.Digest.String(), Descriptor: d, DiffID: ids[i], Repository: repository,
			Fetch: func(ctx context.Context) (io.ReadCloser, error) { return from.Fetch(ctx, d) },
		}
	}
	img, err := NewStored(configJSON, blobs)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", config.Digest, err)
	}
	img.Manifest, img.ManifestDescriptor, img.Raw = data, manifest, data
	return img, nil
}

// Manifests lists the manifests of the images in an index, whose bytes are data:
// those of nested indexes included and attestations left out.
func Manifests(ctx context.Context, data []byte, from Blobs) ([]v1.Descriptor, error) {
	_, children, err := ocijson.ParseIndex(data)
	if err != nil {
		return nil, err
	}
	images, err := ocijson.Images(children, func(d v1.Descriptor) ([]byte, error) {
		return from.Document(ctx, d)
	})
	images = slices.DeleteFunc(images, func(i ocijson.Listed) bool { return ocijson.IsArtifact(i.Descriptor) })
	return ocijson.Distinct(images), err
}
