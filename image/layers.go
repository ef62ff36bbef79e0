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
	// Title tells people what is in the layer.
	Title() string
	// Info returns the tar's digest and size. It may have to read the whole
	// layer the first time; later calls return at once.
	Info(ctx context.Context) (layer.Info, error)
	// Write writes the tar to w. It fails, naming the entry where it can, if
	// what it wrote is not what Info says.
	Write(ctx context.Context, w io.Writer) error
}

// The interfaces below are what a Layer may be besides. Those who write images look for them.

// StoredLayer is a layer of an image that a place has. *layer.Blob is one.
type StoredLayer interface {
	Layer
	// Open opens the layer's tar. Instead of io.EOF there is an error if it is not what the
	// manifest and the config say.
	Open(ctx context.Context) (io.ReadCloser, error)
	// Stored returns what the manifest says of the layer; its digest is empty where there is
	// no manifest.
	Stored() v1.Descriptor
	// TarDigest returns what the config says that the digest of the layer's tar is.
	TarDigest() digest.Digest
	// OpenStored opens the layer as it is stored, compressed or not. Instead of io.EOF there
	// is an error if it is not what Stored says.
	OpenStored(ctx context.Context) (io.ReadCloser, error)
}

// RepositoryLayer is a layer that a registry has: a push to the same registry can mount it
// from there.
type RepositoryLayer interface {
	Layer
	// Origin returns the repository that has the layer, HOST/NAME; empty where none has.
	Origin() string
}

// MemberLayer is a layer that has a header of its own in an archive, and keeps it in
// another.
type MemberLayer interface {
	Layer
	// Member returns the header. An empty Path stands for <digest>/layer.tar.
	Member() *tree.Entry
}

// BoundedLayer is a layer of which no more is read than a budget allows.
type BoundedLayer interface {
	Layer
	// Bound has reading the layer fail when the budget is spent. It must not be called while
	// the layer is read.
	Bound(*layer.Budget)
}
