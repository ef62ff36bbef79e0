package base

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/layer"
)

// cachedBlobs holds an image's parts in the cache; remote fetches the missing
// ones.
type cachedBlobs struct {
	store *cache.Store
	// remote is nil where nothing may be fetched.
	remote *remote
	debugf func(format string, args ...any)
}

func (b *cachedBlobs) Document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if b.remote == nil {
		return b.store.Document(ctx, d, nil)
	}
	return b.store.Document(ctx, d, func(ctx context.Context) (io.ReadCloser, error) {
		b.debugf("fetching document %s from %s", d.Digest, b.remote.repository)
		data, err := b.remote.document(ctx, d)
		return io.NopCloser(bytes.NewReader(data)), err
	})
}

func (b *cachedBlobs) Fetch(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if b.remote == nil {
		return b.kept(ctx, d)
	}
	return b.store.Blob(ctx, d, func(ctx context.Context) (io.ReadCloser, error) {
		b.debugf("fetching layer %s from %s", d.Digest, b.remote.repository)
		return b.remote.layer(ctx, d)
	})
}

// kept opens a blob that may not be fetched.
func (b *cachedBlobs) kept(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	blob, err := b.store.Blob(ctx, d, nil)
	if errors.As(err, new(*layer.DigestError)) {
		err = &DamagedError{err}
	}
	if err != nil {
		return nil, err
	}
	return blob, nil
}

// remote reads the parts of images from a repository of a registry, which is
// contacted only when there is something to read.
type remote struct {
	opts       place.Options
	repository string
	// observe, where it is set, is called for each layer that is fetched.
	observe func(image.Event)

	mu      sync.Mutex
	blobs   *registry.Blobs
	fetched int // layers
}

// open connects to the registry, once.
func (r *remote) open(ctx context.Context) (*registry.Blobs, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blobs != nil {
		return r.blobs, nil
	}
	opts, err := r.opts.RegistryOptions(r.repository)
	if err != nil {
		return nil, err
	}
	r.blobs, err = registry.OpenBlobs(ctx, r.repository, opts)
	return r.blobs, err
}

func (r *remote) document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	blobs, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	return blobs.Document(ctx, d)
}

// layer opens a layer as it is stored.
func (r *remote) layer(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	blobs, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := blobs.Fetch(ctx, d)
	if err != nil || r.observe == nil {
		return stored, err
	}
	return r.observed(stored, d), nil
}

// observed reports a layer that is fetched.
func (r *remote) observed(stored io.ReadCloser, d v1.Descriptor) io.ReadCloser {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched++
	event := image.Event{Layer: r.fetched, Title: d.Digest.String(), Size: d.Size}
	r.observe(event)
	return &observedBlob{stored, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		event.Done = true
		r.observe(event)
	}}
}

type observedBlob struct {
	io.ReadCloser
	closed func()
}

func (b *observedBlob) Close() error {
	b.closed()
	return b.ReadCloser.Close()
}
