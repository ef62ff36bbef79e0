package base

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/layer"
)

// ErrNotPinned says that an image to build on may be another one tomorrow.
var ErrNotPinned = errors.New("the base image is not pinned")

// UnpinnedError says that a registry's image is named by a tag, and nothing pins it.
type UnpinnedError struct {
	Reference string
	// Previous says that it is not to be built on, but holds the plan of the layers.
	Previous bool
}

func (e *UnpinnedError) Error() string {
	what := "base"
	if e.Previous {
		what = "previous"
	}
	return fmt.Sprintf("%s image %q is not pinned: its tag may name another image tomorrow", what, e.Reference)
}

// Is reports whether target is ErrNotPinned.
func (e *UnpinnedError) Is(target error) bool { return target == ErrNotPinned }

// unpinned is the error of another image that nothing pins.
type unpinned struct{ error }

func (unpinned) Is(target error) bool { return target == ErrNotPinned }

// DamagedError says that a blob in the cache does not match its digest, and that nothing may be
// fetched instead.
type DamagedError struct{ Err error }

func (e *DamagedError) Error() string { return e.Err.Error() }

func (e *DamagedError) Unwrap() error { return e.Err }

// LockedPlatform returns the name of an image's platform in varve.lock.
func LockedPlatform(img *image.Stored) string {
	p := img.ListedFor()
	p.OSVersion = ""
	return ocijson.PlatformText(&p)
}

// pin is a registry's image that will be the same tomorrow.
type pin struct {
	// name is the reference in the form of lockfile.Key, and repository its
	// part without tag and digest.
	name, repository string
	// root is the pinned index or manifest; its size may be unknown.
	root     v1.Descriptor
	platform v1.Platform
	// locked is the image's entry in varve.lock, if there is one.
	locked *lockfile.Image
}

// Registry opens a registry's image for a platform: ref is the reference without docker://, lock
// the path of a varve.lock.
func (r *Resolver) Registry(ctx context.Context, ref string, platform v1.Platform, lock string) (*place.Image, error) {
	p, err := r.pin(ctx, ref, platform, lock)
	if err != nil {
		return nil, err
	}
	return r.pinned(ctx, p)
}

// Chosen opens the image of a manifest that was chosen in a repository of a registry, and brings
// it into the cache if there is one. name is used in messages.
func (r *Resolver) Chosen(ctx context.Context, name, repository string, manifest v1.Descriptor, platform v1.Platform) (*place.Image, error) {
	return r.pinned(ctx, &pin{name: name, repository: repository, root: manifest, platform: platform})
}

func (r *Resolver) pinned(ctx context.Context, p *pin) (*place.Image, error) {
	store, err := r.store(ctx)
	if err != nil {
		return nil, err
	}
	var img *image.Stored
	if store == nil {
		img, err = r.openUncached(ctx, p)
	} else {
		img, err = r.openCached(ctx, store, p)
	}
	if err != nil {
		err = fmt.Errorf("base image %q: %w", p.name, err)
		var damaged *layer.DigestError
		if r.opts.Locked && errors.As(err, &damaged) {
			err = &DamagedError{err}
		}
		return nil, err
	}
	img.Limit(image.NewBudget(r.opts.Places.MaxUnpacked, r.opts.Places.MaxEntries))
	return &place.Image{Stored: img, Names: []string{p.name}}, nil
}

// store returns the cache, or nil for none.
func (r *Resolver) store(ctx context.Context) (*cache.Store, error) {
	if r.opts.Cache == nil {
		return nil, nil
	}
	return r.opts.Cache(ctx)
}

// pin finds out what a reference stands for: by its digest, by varve.lock, or by asking the
// registry where the options allow that.
func (r *Resolver) pin(ctx context.Context, ref string, platform v1.Platform, lock string) (*pin, error) {
	key, err := lockfile.Key(ref)
	if err != nil {
		return nil, &place.RefError{Err: err}
	}
	named, err := reference.ParseNormalizedNamed(key)
	if err != nil {
		return nil, &place.RefError{Err: err}
	}
	p := &pin{name: key, repository: named.Name(), platform: platform, root: v1.Descriptor{Size: -1}}
	digested, hasDigest := named.(reference.Digested)
	if r.opts.Unlocked && !hasDigest {
		now, err := r.resolve(ctx, ref)
		if err != nil {
			return nil, err
		}
		p.root = now.Descriptor
		r.debugf("base image %q: the registry says %s", key, p.root.Digest)
		return p, nil
	}
	locked, err := ReadLock(lock)
	if err != nil {
		return nil, err
	}
	if img, ok := locked.Images[key]; ok {
		if _, err := img.Choose(platform); err != nil {
			return nil, &place.RefError{Err: fmt.Errorf("%q: %q: %w", lock, key, err), Hints: []string{"varve lock brings it up to date"}}
		}
		p.locked, p.root.Digest = &img, img.Descriptor.Digest
		r.debugf("base image %q: %q says %s", key, lock, p.root.Digest)
	}
	if hasDigest {
		p.root.Digest = digested.Digest()
	}
	if p.root.Digest != "" {
		return p, nil
	}
	return nil, &UnpinnedError{Reference: "docker://" + ref}
}

// openUncached opens an image without a cache.
func (r *Resolver) openUncached(ctx context.Context, p *pin) (*image.Stored, error) {
	found, err := r.resolve(ctx, p.repository+"@"+p.root.Digest.String())
	if err != nil {
		return nil, err
	}
	img, _, err := openPinned(ctx, found, p)
	return img, err
}

// resolve looks up a reference in its registry.
func (r *Resolver) resolve(ctx context.Context, ref string) (*registry.Resolved, error) {
	opts, err := r.opts.Places.RegistryOptions(ref)
	if err != nil {
		return nil, err
	}
	return registry.Resolve(ctx, ref, opts)
}

// openPinned opens the pinned image, whose parts are in from. It returns as root the pinned
// descriptor, now complete. What varve.lock says decides nothing: it has to match what is found
// without it.
func openPinned(ctx context.Context, from image.Blobs, p *pin) (img *image.Stored, root v1.Descriptor, err error) {
	data, err := from.Document(ctx, p.root)
	if err != nil {
		return nil, root, err
	}
	root = p.root
	root.Size = int64(len(data))
	if root.MediaType, err = ocijson.MediaType(data); err != nil {
		return nil, root, err
	}
	manifest := root
	if ocijson.IsIndex(root.MediaType) {
		list, err := image.Manifests(ctx, data, from)
		if err != nil {
			return nil, root, fmt.Errorf("index %s: %w", root.Digest, err)
		}
		if manifest, err = p.choose(ctx, list, from); err != nil {
			return nil, root, err
		}
	}
	if img, err = image.Open(ctx, manifest, from, p.repository); err == nil {
		err = p.check(root, img)
	}
	return img, root, err
}

// choose chooses the image for the platform from those in the index.
func (p *pin) choose(ctx context.Context, list []v1.Descriptor, from image.Blobs) (v1.Descriptor, error) {
	n, err := image.Choose(ctx, list, p.platform, func(ctx context.Context, n int) (v1.Platform, error) {
		img, err := image.Open(ctx, list[n], from, p.repository)
		if err != nil {
			return v1.Platform{}, err
		}
		return img.ConfigPlatform(), nil
	})
	switch {
	case err == nil:
		return list[n], nil
	case p.locked != nil: // which has one
		return v1.Descriptor{}, &lockfile.MismatchError{Err: err}
	}
	return v1.Descriptor{}, &place.RefError{Err: err}
}

// check compares the image with its entry in varve.lock.
func (p *pin) check(root v1.Descriptor, img *image.Stored) error {
	if p.locked == nil {
		return nil
	}
	found, err := lockfile.NewChosen(root, LockedPlatform(img), img.ManifestDescriptor, img.Manifest)
	if err != nil {
		return err
	}
	return p.locked.Check(found)
}

// cached returns the parts of an image in the cache; what is missing is fetched, where that is
// allowed.
func (r *Resolver) cached(store *cache.Store, p *pin) *cachedBlobs {
	b := &cachedBlobs{store: store, debugf: r.debugf}
	if !r.opts.Locked {
		b.remote = &remote{opts: r.opts.Places, repository: p.repository}
	}
	return b
}

// openCached opens an image whose parts are in the cache, or are brought there first.
func (r *Resolver) openCached(ctx context.Context, store *cache.Store, p *pin) (*image.Stored, error) {
	b := r.cached(store, p)
	img, root, err := openPinned(ctx, b, p)
	if err != nil {
		return nil, err
	}
	if err := r.fill(ctx, b, img, p.repository); err != nil {
		return nil, err
	}
	if !ocijson.IsIndex(root.MediaType) {
		own := img.ConfigPlatform()
		root.Platform = &own
	}
	full := ""
	if !strings.Contains(p.name, "@") {
		full = p.name
	}
	var now time.Time
	if r.opts.Now != nil {
		now = r.opts.Now()
	}
	return img, store.Use(ctx, root, p.repository+"@"+root.Digest.String(), full, now)
}

// fetches limits how many layers are fetched at once.
const fetches = 4

// fill brings an image's layers into the cache. What is there is compared with its digest when it
// is read: a layer that is only passed on may not be.
func (r *Resolver) fill(ctx context.Context, b *cachedBlobs, img *image.Stored, title string) error {
	var missing []v1.Descriptor
	for _, l := range img.StoredLayers() {
		switch d := l.Stored(); {
		case b.store.Has(d):
			r.debugf("layer %s is in the cache", d.Digest)
		case len(d.URLs) == 0: // otherwise it is kept elsewhere
			missing = append(missing, d)
		}
	}
	if len(missing) > 0 && b.remote != nil && r.opts.Progress != nil {
		observe, done := r.opts.Progress(ctx, len(missing), "fetching "+title)
		defer done()
		b.remote.observe = observe
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(fetches)
	for _, d := range missing {
		tasks.Go(func() error {
			blob, err := b.Fetch(ctx, d)
			if err != nil {
				return err
			}
			return blob.Close()
		})
	}
	return tasks.Wait()
}
