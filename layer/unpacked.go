package layer

import (
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/tree"
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
	// tar. If at is not zero, the blob is what has that stamp, and its digest may be empty.
	Unpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest) (Unpacked, bool)
	// KeepUnpacked remembers it. A blob that has a stamp must not be kept if the file was just
	// changed, as Memo.KeepLayer says.
	KeepUnpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest, u Unpacked)
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
	if u == nil && b.memo != nil && b.DiffID != "" {
		if u = b.known(); u != nil {
			b.unpacked.Store(u)
		}
	}
	if u == nil {
		return nil, nil
	}
	return u, b.spend(u.Size, u.Entries)
}

// known asks the memo: by the file that has the blob, and by its digest.
func (b *Blob) known() *Unpacked {
	if b.Section.isStamped() {
		if u, ok := b.memo.Unpacked(b.sectionOf(), b.Section.Stamp, b.DiffID); ok {
			b.proved.Store(true)
			return &u
		}
	}
	if b.Descriptor.Digest != "" {
		if u, ok := b.memo.Unpacked(b.Descriptor, tree.Stamp{}, b.DiffID); ok {
			return &u
		}
	}
	return nil
}

// verified notes that the blob matches its digest and unpacks to DiffID.
func (b *Blob) verified(u Unpacked) {
	first := b.unpacked.Swap(&u) == nil
	if b.memo == nil || b.DiffID == "" {
		return
	}
	// A blob without a digest is nothing but what a file has: the config's word for it proves
	// nothing.
	if first && b.Descriptor.Digest != "" {
		b.memo.KeepUnpacked(b.Descriptor, tree.Stamp{}, b.DiffID, u)
	}
	if b.Section.isStamped() && !b.proved.Load() && b.kept.CompareAndSwap(false, true) {
		b.memo.KeepUnpacked(b.sectionOf(), b.Section.Stamp, b.DiffID, u)
	}
}
