package memo

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
)

// ForLayers returns the Memo as packages that make layers know it, nil for none.
func (m *Memo) ForLayers() layer.Memo {
	if m == nil {
		return nil
	}
	return m
}

// ForBlobs returns the Memo as packages that write images know it, nil for none.
func (m *Memo) ForBlobs() image.Memo {
	if m == nil {
		return nil
	}
	return m
}

// record is such a result.
type record struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

func (m *Memo) record(kind Kind, key digest.Digest) (record, bool) {
	var r record
	data, ok := m.Get(kind, key)
	if !ok || json.Unmarshal(data, &r) != nil || r.Digest.Validate() != nil || r.Size < 0 {
		return record{}, false
	}
	return r, true
}

func (m *Memo) keep(kind Kind, key digest.Digest, r record, changed int64) {
	if data, err := json.Marshal(r); err == nil { // it is two values
		m.Put(kind, key, data, changed)
	}
}

// Layer returns the digest and size of the layer with a key (layer.Memo).
func (m *Memo) Layer(key digest.Digest) (layer.Info, bool) {
	r, ok := m.record(Layers, key)
	return layer.Info{DiffID: r.Digest, Size: r.Size}, ok
}

// KeepLayer remembers them (layer.Memo).
func (m *Memo) KeepLayer(key digest.Digest, info layer.Info, changed int64) {
	m.keep(Layers, key, record{info.DiffID, info.Size}, changed)
}

// Known reports whether a layer of a name was kept (layer.Memo).
func (m *Memo) Known(name digest.Digest) bool {
	_, ok := m.Get(Names, name)
	return ok
}

// KeepName notes that one was (layer.Memo).
func (m *Memo) KeepName(name digest.Digest) {
	if !m.Known(name) {
		m.Put(Names, name, nil, 0)
	}
}

// Blob returns the digest and size of what a tar is compressed to (image.Memo).
func (m *Memo) Blob(diffID digest.Digest, compressor string) (v1.Descriptor, bool) {
	r, ok := m.record(Blobs, blobKey(diffID, compressor))
	return v1.Descriptor{Digest: r.Digest, Size: r.Size}, ok
}

// KeepBlob remembers them (image.Memo).
func (m *Memo) KeepBlob(diffID digest.Digest, compressor string, d v1.Descriptor) {
	m.keep(Blobs, blobKey(diffID, compressor), record{d.Digest, d.Size}, 0)
}

func blobKey(diffID digest.Digest, compressor string) digest.Digest {
	return digest.FromString(fmt.Sprintf("varve blob %s %q", diffID, compressor))
}
