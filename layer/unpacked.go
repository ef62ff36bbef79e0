package layer

import (
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Unpacked describes the tar that a stored layer was verified to unpack to.
type Unpacked struct {
	// Size is in bytes, Entries counts the tar's entries.
	Size, Entries int64
}

// BlobMemo remembers which stored layers were verified to unpack to what a config says, from one
// program to the next. It may forget anything at any time; what it returns is believed. Its
// methods may be called by several goroutines.
type BlobMemo interface {
	// Unpacked returns what was kept for a blob, by its digest and size, and the digest of its
	// tar.
	Unpacked(blob v1.Descriptor, diffID digest.Digest) (Unpacked, bool)
	KeepUnpacked(blob v1.Descriptor, diffID digest.Digest, u Unpacked)
}

// Remember makes the blob ask a memo what it was verified to unpack to, and tell it. It must not
// be called while the layer is being read.
func (b *Blob) Remember(memo BlobMemo) { b.memo = memo }

// Verified reports whether the blob is known to unpack to DiffID, from a pass over it in this
// process or an earlier one, and to be within its budget.
func (b *Blob) Verified() bool {
	u, err := b.recall()
	return u != nil && err == nil
}

// recall returns what the blob was verified to unpack to; nil where that is not known. The error
// says that it is more than the budget allows.
func (b *Blob) recall() (*Unpacked, error) {
	u := b.unpacked.Load()
	if u == nil && b.remembers() {
		if known, ok := b.memo.Unpacked(b.Descriptor, b.DiffID); ok {
			u = &known
			b.unpacked.Store(u)
		}
	}
	if u == nil {
		return nil, nil
	}
	return u, b.spend(u.Size, u.Entries)
}

// verified notes that the blob matches its digest and unpacks to DiffID.
func (b *Blob) verified(u Unpacked) {
	if b.unpacked.Swap(&u) == nil && b.remembers() {
		b.memo.KeepUnpacked(b.Descriptor, b.DiffID, u)
	}
}

// remembers reports whether there is something to remember the blob by. Where nobody has stated a
// digest of the blob, its content has to show that it is what the config says, each time.
func (b *Blob) remembers() bool {
	return b.memo != nil && b.DiffID != "" && b.Descriptor.Digest != ""
}
