package image

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// Layer is a layer's uncompressed tar, which can be written any number of
// times. Its methods may be called by several goroutines.
type Layer interface {
	// Title says what is in the layer, for people.
	Title() string
	// Info returns the tar's digest and size. It may have to read the whole
	// layer the first time; later calls return at once.
	Info(ctx context.Context) (layer.Info, error)
	// Write writes the tar to w. It fails, naming the entry where it can, if it did not write
	// what Info says.
	Write(ctx context.Context, w io.Writer) error
}

// A Layer may implement the interfaces below too. Code that writes images checks for them.

// StoredLayer is a layer of an image that a place has. *layer.Blob is one.
type StoredLayer interface {
	Layer
	// Open opens the layer's tar. Reading it ends with an error instead of io.EOF if it is not
	// what the manifest and the config say.
	Open(ctx context.Context) (io.ReadCloser, error)
	// Stored returns the layer's descriptor in the manifest; its digest is empty where there is
	// no manifest.
	Stored() v1.Descriptor
	// TarDigest returns the layer's diffID, the digest of its tar, as the config has it.
	TarDigest() digest.Digest
	// OpenStored opens the layer as it is stored, compressed or not. Reading it ends with an
	// error instead of io.EOF if it is not what Stored says.
	OpenStored(ctx context.Context) (io.ReadCloser, error)
}

// RepositoryLayer is a layer in a registry: a push to the same registry can mount it from there.
type RepositoryLayer interface {
	Layer
	// Origin returns the repository that has the layer, HOST/NAME, or "" if none has.
	Origin() string
}

// MemberLayer is a layer that has its own header in an archive, and keeps it when it is written
// to another.
type MemberLayer interface {
	Layer
	// Member returns the header. An empty Path stands for <digest>/layer.tar.
	Member() *tree.Entry
}

// OnceLayer is a layer that can be written before its digest is known, so that its content is
// read only once.
type OnceLayer interface {
	Layer
	// Unread reports whether nothing is known of the tar, so that Info would read the layer.
	Unread() bool
	// WriteOnce writes the tar to w, and returns what Info returns from then on.
	WriteOnce(ctx context.Context, w io.Writer) (layer.Info, error)
}

// KeptLayer is a layer of files that are maybe so small that reading them once more costs more than
// keeping the tar.
type KeptLayer interface {
	OnceLayer
	// Keep returns what Info returns, and reports whether it has written the tar to w meanwhile. If
	// it has not, w may have a part of it.
	Keep(ctx context.Context, w io.Writer) (info layer.Info, kept bool, err error)
}

// LimitedLayer is a layer that can be read only as far as a budget allows.
type LimitedLayer interface {
	Layer
	// Limit makes reading the layer fail when the budget is spent. It must not be called while
	// the layer is being read.
	Limit(*layer.Budget)
}

// KeyedLayer is a layer with a key that is the same wherever it is made of the same files. It is
// written into manifests, for builds elsewhere.
type KeyedLayer interface {
	Layer
	// PortableKey returns the key, or "" for none.
	PortableKey(ctx context.Context) (digest.Digest, error)
}

// RememberedLayer is a stored layer that need not be read to know whether its tar is what the
// config says, if that was verified once.
type RememberedLayer interface {
	StoredLayer
	// Remember makes the layer ask a memo, and tell it. It must not be called while the layer is
	// being read.
	Remember(layer.BlobMemo)
	// Verified reports whether the layer is known to be what the config says, and to be within
	// its budget.
	Verified() bool
}
