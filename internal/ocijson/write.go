package ocijson

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
)

// Manifest returns an OCI image manifest.
func Manifest(config v1.Descriptor, layers []v1.Descriptor, annotations map[string]string) ([]byte, error) {
	list := make([]any, len(layers))
	for i, d := range layers {
		list[i] = Descriptor(d)
	}
	return document(annotations,
		ordjson.Member{Key: "mediaType", Value: v1.MediaTypeImageManifest},
		ordjson.Member{Key: "config", Value: Descriptor(config)},
		ordjson.Member{Key: "layers", Value: list})
}

// EmptyIndex returns an OCI image index without images.
func EmptyIndex() *ordjson.Object {
	return &ordjson.Object{Members: []ordjson.Member{
		{Key: "schemaVersion", Value: json.Number("2")},
		{Key: "mediaType", Value: v1.MediaTypeImageIndex},
		{Key: "manifests", Value: []any{}},
	}}
}

// Index returns an OCI image index.
func Index(manifests []v1.Descriptor, annotations map[string]string) ([]byte, error) {
	list := make([]any, len(manifests))
	for i, d := range manifests {
		list[i] = Descriptor(d)
	}
	return document(annotations,
		ordjson.Member{Key: "mediaType", Value: v1.MediaTypeImageIndex},
		ordjson.Member{Key: "manifests", Value: list})
}

func document(annotations map[string]string, members ...ordjson.Member) ([]byte, error) {
	o := &ordjson.Object{Members: []ordjson.Member{{Key: "schemaVersion", Value: json.Number("2")}}}
	o.Members = append(o.Members, members...)
	if len(annotations) > 0 {
		o.Set("annotations", Sorted(annotations))
	}
	return ordjson.Marshal(o)
}

// Descriptor returns a descriptor as JSON; empty fields are left out.
func Descriptor(d v1.Descriptor) *ordjson.Object {
	o := &ordjson.Object{Members: []ordjson.Member{
		{Key: "mediaType", Value: d.MediaType},
		{Key: "digest", Value: d.Digest.String()},
		{Key: "size", Value: json.Number(strconv.FormatInt(d.Size, 10))},
	}}
	if len(d.URLs) > 0 {
		o.Set("urls", list(d.URLs))
	}
	if len(d.Annotations) > 0 {
		o.Set("annotations", Sorted(d.Annotations))
	}
	if p := d.Platform; p != nil {
		po := &ordjson.Object{Members: []ordjson.Member{
			{Key: "architecture", Value: p.Architecture},
			{Key: "os", Value: p.OS},
		}}
		for _, m := range []struct{ key, value string }{{"os.version", p.OSVersion}, {"variant", p.Variant}} {
			if m.value != "" {
				po.Set(m.key, m.value)
			}
		}
		if len(p.OSFeatures) > 0 {
			po.Set("os.features", list(p.OSFeatures))
		}
		o.Set("platform", po)
	}
	if d.ArtifactType != "" {
		o.Set("artifactType", d.ArtifactType)
	}
	return o
}

// Sorted returns a map as an object, sorted by key.
func Sorted(m map[string]string) *ordjson.Object {
	o := &ordjson.Object{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		o.Members = append(o.Members, ordjson.Member{Key: key, Value: m[key]})
	}
	return o
}

func list(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}

// OCILayerType returns OCI's name for a layer's media type: a manifest has either Docker's
// media types or OCI's.
func OCILayerType(mediaType string) string {
	switch mediaType {
	case DockerLayer:
		return v1.MediaTypeImageLayer
	case DockerLayerGzip:
		return v1.MediaTypeImageLayerGzip
	case DockerForeignLayer:
		return "application/vnd.oci.image.layer.nondistributable.v1.tar"
	case DockerForeignGzip:
		return "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	}
	return mediaType
}
