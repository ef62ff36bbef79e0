package ocijson

import (
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
)

// Artifact tells a manifest that is of no image, and of what it is: it has an
// artifactType, a config of another type than images have, or layers of other types
// (OCI image-spec, manifest.md, "Guidelines for Artifact Usage"). Signatures, lists of
// what is in an image and charts are such. It is empty for an image's, and for what
// cannot be read.
func Artifact(data []byte) string {
	o, err := ordjson.ParseObject(data, "artifactType")
	if err != nil {
		return ""
	}
	if text, err := o.String("artifactType"); err == nil && text != "" {
		return text
	}
	config, layers, err := ParseManifest(data)
	if err != nil {
		return ""
	}
	if !isConfig(config.MediaType) {
		return config.MediaType
	}
	for _, l := range layers {
		if !strings.Contains(l.MediaType, "tar") {
			return l.MediaType
		}
	}
	return ""
}

// isConfig tells the types of configs, those that Docker took for one included.
func isConfig(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == DockerConfig || mediaType == "application/octet-stream"
}

// IsArtifact tells by its descriptor what is no image. Registries give an image's the
// type of its config.
func IsArtifact(d v1.Descriptor) bool { return d.ArtifactType != "" && !isConfig(d.ArtifactType) }
