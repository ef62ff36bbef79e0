package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/cache"
	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/registry"
)

// cachedBlobs are an image's parts in the cache, where remote brings those that
// are not there.
type cachedBlobs struct {
	store *cache.Store
	// remote is nil where nothing may be fetched.
	remote *remote
	// manifest is that of the image, once it was chosen.
	manifest v1.Descriptor
}

func (b *cachedBlobs) Document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if b.remote == nil {
		return b.store.Document(ctx, d, nil)
	}
	return b.store.Document(ctx, d, func(ctx context.Context) (io.ReadCloser, error) {
		data, err := b.remote.document(ctx, d, b.manifest)
		return io.NopCloser(bytes.NewReader(data)), err
	})
}

func (b *cachedBlobs) Fetch(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if b.remote == nil {
		return b.store.Blob(ctx, d, nil)
	}
	return b.store.Blob(ctx, d, func(ctx context.Context) (io.ReadCloser, error) { return b.remote.layer(ctx, d, b.manifest) })
}

// remote reads the parts of images from a repository of a registry.
type remote struct {
	g          *global
	repository string
	// observe, where it is set, is told of each layer that is fetched.
	observe func(image.Event)

	mu      sync.Mutex
	image   *image.Existing // of the manifest that was asked for
	fetched int             // layers
}

func (r *remote) resolve(ctx context.Context, d v1.Descriptor) (*registry.Resolved, error) {
	opts, err := r.g.registryOptions(r.repository)
	if err != nil {
		return nil, err
	}
	return registry.Resolve(ctx, r.repository+"@"+d.Digest.String(), opts)
}

// document fetches an index or a manifest; anything else is the config of the
// manifest.
func (r *remote) document(ctx context.Context, d, manifest v1.Descriptor) ([]byte, error) {
	if d.MediaType == "" || ocijson.IsIndex(d.MediaType) || ocijson.IsManifest(d.MediaType) {
		resolved, err := r.resolve(ctx, d)
		if err != nil {
			return nil, err
		}
		return resolved.Raw, nil
	}
	img, err := r.open(ctx, manifest)
	if err != nil {
		return nil, err
	}
	return img.ConfigJSON, nil
}

// open opens the image of a manifest, once.
func (r *remote) open(ctx context.Context, manifest v1.Descriptor) (*image.Existing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.image != nil {
		return r.image, nil
	}
	resolved, err := r.resolve(ctx, manifest)
	if err != nil {
		return nil, err
	}
	r.image, err = resolved.Image(ctx, resolved.Descriptor)
	return r.image, err
}

// layer opens a layer of the manifest as it is stored.
func (r *remote) layer(ctx context.Context, d, manifest v1.Descriptor) (io.ReadCloser, error) {
	img, err := r.open(ctx, manifest)
	if err != nil {
		return nil, err
	}
	for _, l := range img.Layers {
		if l.Stored().Digest == d.Digest {
			stored, err := l.OpenStored(ctx)
			if err != nil || r.observe == nil {
				return stored, err
			}
			return r.observed(stored, d), nil
		}
	}
	return nil, fmt.Errorf("manifest %s has no layer %s", manifest.Digest, d.Digest)
}

// observed tells of a layer that is fetched.
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
