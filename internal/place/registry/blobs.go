package registry

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// Blobs reads a repository's manifests and blobs by their digests. It is an
// image.Blobs.
type Blobs struct{ client *client }

// OpenBlobs finds out how to talk to the registry of a repository and logs in.
// It ignores a tag or a digest of ref.
func OpenBlobs(ctx context.Context, ref string, opts Options) (*Blobs, error) {
	parsed, err := parseReference(ref)
	if err != nil {
		return nil, err
	}
	c, err := newClient(ctx, parsed, opts, "pull", nil)
	if err != nil {
		return nil, fmt.Errorf("read from %q: %w", ref, err)
	}
	return &Blobs{c}, nil
}

// Document reads an index or a manifest, which may be of unknown type, or a
// config, and compares it with d. A size below 0 means unknown.
func (b *Blobs) Document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if d.MediaType == "" || ocijson.IsIndex(d.MediaType) || ocijson.IsManifest(d.MediaType) {
		data, _, err := b.client.manifest(ctx, d.Digest.String(), d)
		return data, err
	}
	if d.Size > ocijson.MaxSize {
		return nil, fmt.Errorf("blob %s is said to have %d bytes, more than %d", d.Digest, d.Size, ocijson.MaxSize)
	}
	blob, err := b.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return io.ReadAll(layer.Verify(blob, d))
}

// Fetch opens a blob. The reader has to compare it with d.
func (b *Blobs) Fetch(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return b.client.fetch(ctx, d)
}
