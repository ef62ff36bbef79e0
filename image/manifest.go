package image

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
)

// Document is a config, a manifest or an index as it is stored.
type Document struct {
	Data       []byte
	Descriptor v1.Descriptor
}

// NewDocument describes a document by its SHA-256.
func NewDocument(mediaType string, data []byte) Document {
	return Document{data, v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}}
}

// check refuses a manifest or an index that readers would refuse.
func (d Document) check(what string) error {
	if len(d.Data) > ocijson.MaxSize {
		return fmt.Errorf("the %s has %d bytes: at most %d can be read again", what, len(d.Data), ocijson.MaxSize)
	}
	return nil
}

// Manifest returns the config and the manifest of an image whose layers are stored as layers
// says (OCI image-spec, manifest.md). The descriptor of the manifest has the platform.
//
// A manifest that the image has already is kept, byte for byte, if it has the same config and
// layers and there are no other annotations to write. A Docker manifest is kept only if docker
// says that the place accepts those. Any other image gets an OCI manifest, with a config that an
// OCI manifest may have (see OCIConfig).
func Manifest(ctx context.Context, img Image, layers []v1.Descriptor, docker bool) (config, manifest Document, err error) {
	data, err := img.RawConfig(ctx)
	if err != nil {
		return config, manifest, err
	}
	config = configDocument(img, data)
	manifest, kept := keptManifest(img, config.Descriptor, layers, docker)
	if !kept {
		if data, err = OCIConfig(data); err != nil {
			return config, manifest, err
		}
		config = configDocument(img, data)
		made, err := ocijson.Manifest(config.Descriptor, ociLayers(untold(img, layers)), annotationsOf(img))
		if err != nil {
			return config, manifest, err
		}
		manifest = NewDocument(v1.MediaTypeImageManifest, made)
	}
	platform := img.Platform()
	manifest.Descriptor.Platform = &platform
	return config, manifest, manifest.check("manifest")
}

// annotationsOf returns the annotations of an image's new manifest.
func annotationsOf(img Image) map[string]string {
	switch img := unwrap(img).(type) {
	case *Built:
		return img.d.Annotations
	case *Stored:
		return img.Annotations
	}
	return nil
}

// configDocument describes the config by its digest in the image's own manifest, where that is a
// digest of this config.
func configDocument(img Image, data []byte) Document {
	config := NewDocument(v1.MediaTypeImageConfig, data)
	stored, ok := unwrap(img).(*Stored)
	if !ok {
		return config
	}
	was, _, err := ocijson.ParseManifest(stored.Manifest)
	if err == nil && was.Digest.Algorithm().FromBytes(data) == was.Digest {
		config.Descriptor.Digest = was.Digest
	}
	return config
}

// keptManifest returns the manifest that an image has, if it says what a new one would.
func keptManifest(img Image, config v1.Descriptor, layers []v1.Descriptor, docker bool) (Document, bool) {
	stored, ok := unwrap(img).(*Stored)
	if !ok || len(stored.Manifest) == 0 {
		return Document{}, false
	}
	if len(stored.Annotations) > 0 {
		if own, err := ocijson.Annotations(stored.Manifest); err != nil || !maps.Equal(stored.Annotations, own) {
			return Document{}, false
		}
	}
	mediaType, err := ocijson.MediaType(stored.Manifest)
	if err != nil || mediaType != v1.MediaTypeImageManifest && !docker {
		return Document{}, false
	}
	had, list, err := ocijson.ParseManifest(stored.Manifest)
	same := err == nil && had.Digest == config.Digest && slices.EqualFunc(list, layers, func(a, b v1.Descriptor) bool {
		return a.Digest == b.Digest && a.Size == b.Size && (docker || a.MediaType == b.MediaType) && maps.Equal(a.Annotations, b.Annotations)
	})
	kept := NewDocument(mediaType, stored.Manifest)
	if d := stored.ManifestDescriptor.Digest; d.Validate() == nil && d.Algorithm().FromBytes(stored.Manifest) == d {
		kept.Descriptor.Digest = d
	}
	return kept, same
}

// ociLayers describes layers as an OCI manifest does: without Docker media types, and with no
// other fields than these.
func ociLayers(layers []v1.Descriptor) []v1.Descriptor {
	list := make([]v1.Descriptor, len(layers))
	for i, d := range layers {
		list[i] = v1.Descriptor{MediaType: ocijson.OCILayerType(d.MediaType), Digest: d.Digest, Size: d.Size, URLs: d.URLs, Annotations: d.Annotations}
	}
	return list
}
