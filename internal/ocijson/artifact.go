package ocijson

import (
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
)

// Artifact returns the type of a manifest that is not an image's: it has an
// artifactType, a config of another type than images have, or layers of other types
// (OCI image-spec, manifest.md, "Guidelines for Artifact Usage"). Signatures, lists of
// an image's content and charts are examples. It is empty for an image's manifest, and
// for one that cannot be read.
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

// isConfig reports whether a type is a config's, including what Docker has used for one.
func isConfig(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == DockerConfig || mediaType == "application/octet-stream"
}

// IsArtifact reports, from its descriptor, whether a manifest is not an image's.
// Registries give an image's manifest the type of its config.
func IsArtifact(d v1.Descriptor) bool { return d.ArtifactType != "" && !isConfig(d.ArtifactType) }
