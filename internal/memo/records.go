package memo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
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

// ForStored returns the Memo as packages that read images know it, nil for none.
func (m *Memo) ForStored() image.StoredMemo {
	if m == nil {
		return nil
	}
	return m
}

// record is such a result.
type record struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
	// Entries is of a stored layer.
	Entries int64 `json:"entries,omitempty"`
	// Headers is the digest of a layer's headers.
	Headers digest.Digest `json:"headers,omitempty"`
}

func (m *Memo) record(kind Kind, key digest.Digest) (record, bool) {
	var r record
	data, ok := m.Get(kind, key)
	if !ok || json.Unmarshal(data, &r) != nil || r.Digest.Validate() != nil || r.Size < 0 || r.Entries < 0 || r.Headers != "" && r.Headers.Validate() != nil {
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
func (m *Memo) Layer(key digest.Digest) (info layer.Info, headers digest.Digest, ok bool) {
	r, ok := m.record(Layers, key)
	return layer.Info{DiffID: r.Digest, Size: r.Size}, r.Headers, ok
}

// KeepLayer remembers them (layer.Memo).
func (m *Memo) KeepLayer(key digest.Digest, info layer.Info, headers digest.Digest, changed int64) {
	m.keep(Layers, key, record{Digest: info.DiffID, Size: info.Size, Headers: headers}, changed)
}

// Portable returns the portable key of the layer with a key (layer.Memo).
func (m *Memo) Portable(key digest.Digest) (digest.Digest, bool) {
	r, ok := m.record(Layers, portableKey(key))
	return r.Digest, ok
}

// KeepPortable remembers it (layer.Memo).
func (m *Memo) KeepPortable(key, portable digest.Digest, changed int64) {
	m.keep(Layers, portableKey(key), record{Digest: portable}, changed)
}

func portableKey(key digest.Digest) digest.Digest {
	return digest.FromString("varve portable key of " + key.String())
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
	m.keep(Blobs, blobKey(diffID, compressor), record{Digest: d.Digest, Size: d.Size}, 0)
}

// Step returns the digest and size of what a script made, by what it could see: content that Open
// opens.
func (m *Memo) Step(key digest.Digest) (v1.Descriptor, bool) {
	r, ok := m.record(Steps, key)
	return v1.Descriptor{Digest: r.Digest, Size: r.Size}, ok
}

// KeepStep remembers them. That the files whose stamps the key stands for had not just been
// changed was asked by Settled, before the script ran.
func (m *Memo) KeepStep(key digest.Digest, d v1.Descriptor) {
	m.keep(Steps, key, record{Digest: d.Digest, Size: d.Size}, 0)
}

func blobKey(diffID digest.Digest, compressor string) digest.Digest {
	return digest.FromString(fmt.Sprintf("varve blob %s %q", diffID, compressor))
}

// Unpacked returns what a blob was verified to unpack to (layer.BlobMemo).
func (m *Memo) Unpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest) (layer.Unpacked, bool) {
	r, ok := m.record(Layers, storedKey(blob, at, diffID))
	return layer.Unpacked{Size: r.Size, Entries: r.Entries}, ok && r.Digest == diffID
}

// KeepUnpacked remembers it (layer.BlobMemo).
func (m *Memo) KeepUnpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest, u layer.Unpacked) {
	m.keep(Layers, storedKey(blob, at, diffID), record{Digest: diffID, Size: u.Size, Entries: u.Entries}, at.Change)
}

func storedKey(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest) digest.Digest {
	if at != (tree.Stamp{}) {
		return digest.FromString(fmt.Sprintf("varve stored layer at %d %q %d %q", at, blob.Digest, blob.Size, diffID))
	}
	return digest.FromString(fmt.Sprintf("varve stored layer %q %d %q", blob.Digest, blob.Size, diffID))
}

// OpenListing opens the listing of an image's files (image.StoredMemo). The entry has its digest
// and size: large ones are among the contents, where they need not be in memory.
func (m *Memo) OpenListing(ctx context.Context, key digest.Digest) (io.ReadCloser, bool) {
	r, ok := m.record(Listings, key)
	if !ok {
		return nil, false
	}
	f, err := m.Open(ctx, v1.Descriptor{Digest: r.Digest, Size: r.Size})
	return f, err == nil
}

// KeepListing remembers one (image.StoredMemo).
func (m *Memo) KeepListing(ctx context.Context, key digest.Digest, write func(io.Writer) error) {
	if d, err := m.Keep(ctx, write); err == nil { // otherwise it cannot be listed
		m.keep(Listings, key, record{Digest: d.Digest, Size: d.Size}, 0)
	}
}
