package layertest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"maps"
)

// Object is a JSON object.
type Object = map[string]any

// Builder writes a layout in parts, including whatever other tools put there.
type Builder struct {
	layout
	// SHA512 makes blobs named by their SHA-512.
	SHA512 bool
}

// NewBuilder begins a layout in a directory.
func NewBuilder(dir string) *Builder { return &Builder{layout: layout{dir: dir}} }

// Blob writes a blob and returns its descriptor.
func (b *Builder) Blob(mediaType string, data []byte) Object {
	if !b.SHA512 {
		return b.blob(mediaType, data)
	}
	sum := fmt.Sprintf("%x", sha512.Sum512(data))
	b.put("blobs/sha512/"+sum, data)
	return Object{"mediaType": mediaType, "digest": "sha512:" + sum, "size": len(data)}
}

// JSON writes a blob of JSON.
func (b *Builder) JSON(mediaType string, v any) Object {
	data, err := json.Marshal(v)
	if b.err == nil {
		b.err = err
	}
	return b.Blob(mediaType, data)
}

const ociPrefix = "application/vnd.oci.image."

// Image writes an image of layers, each a tar and what it is stored as, and a run config,
// and returns its manifest's descriptor.
func (b *Builder) Image(run any, layers ...Stored) Object {
	ids, list := []any{}, []any{}
	for _, l := range layers {
		list = append(list, b.Blob(ociPrefix+"layer.v1.tar"+l.Kind, l.Blob))
		ids = append(ids, fmt.Sprintf("sha256:%x", sha256.Sum256(l.Tar)))
	}
	config := b.JSON(ociPrefix+"config.v1+json", Object{
		"architecture": "amd64", "os": "linux", "config": run, "rootfs": Object{"type": "layers", "diff_ids": ids}})
	return b.Manifest(config, list, nil)
}

// Stored is a layer's tar and the blob that it is stored as, of the kind "", "+gzip" …
type Stored struct {
	Tar, Blob []byte
	Kind      string
}

// Manifest writes a manifest, with further fields.
func (b *Builder) Manifest(config Object, layers []any, more Object) Object {
	m := Object{"schemaVersion": 2, "mediaType": ociPrefix + "manifest.v1+json", "config": config, "layers": layers}
	maps.Copy(m, more)
	return b.JSON(ociPrefix+"manifest.v1+json", m)
}

// Named gives a descriptor a name in the layout.
func Named(d Object, name string) Object {
	d = maps.Clone(d)
	d["annotations"] = Object{"org.opencontainers.image.ref.name": name}
	return d
}

// Close writes index.json.
func (b *Builder) Close(manifests ...Object) error {
	data, err := json.Marshal(Object{"schemaVersion": 2, "manifests": manifests})
	if b.err == nil {
		b.err = err
	}
	b.put("index.json", data)
	b.put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return b.err
}
