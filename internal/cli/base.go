package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/layer"
)

// openBase opens the image that a spec builds on. It stays open until the
// command ends. lock is the path of the spec's varve.lock.
func (g *global) openBase(ctx context.Context, ref assemble.BaseReference, lock string) (*image.Existing, error) {
	img, err := g.findBase(ctx, ref, lock)
	if err != nil {
		return nil, err
	}
	if err := img.CheckPlatform(); err != nil {
		return nil, hint(fmt.Errorf("base image %q: %w", ref.Reference, err), "the image is wrong: if you know which of both is right, name the manifest by its digest, which is no index's")
	}
	return img, nil
}

func (g *global) findBase(ctx context.Context, ref assemble.BaseReference, lock string) (*image.Existing, error) {
	kind, path, name, err := parseSource(ref.Reference)
	if err != nil {
		return nil, err
	}
	switch {
	case kind == dockerRegistry:
		return g.registryBase(ctx, name, basePlatform(ref), lock)
	case isEngine(kind) && g.locked:
		return nil, usageError(hint(fmt.Errorf("base image %q is not pinned: an engine may have another one by this name", ref.Reference),
			"--locked takes images of registries by digest or varve.lock, and files"))
	}
	var src image.Source
	if isEngine(kind) || path == "-" {
		src, name, err = g.openSource(ctx, ref.Reference)
	} else {
		if !ref.Local {
			path = g.root + path
		}
		src, err = g.openPath(ctx, kind, path)
		if _, statErr := os.Stat(path); statErr != nil {
			err = fileError(missingImage(ref.Written, err))
		}
	}
	if err != nil {
		return nil, err
	}
	if ref.Name != "" {
		return g.openCalled(ctx, src, ref.Name+":"+ref.Tag, basePlatform(ref))
	}
	return g.openFor(ctx, src, name, basePlatform(ref))
}

// basePlatform is the platform that a spec asks for.
func basePlatform(ref assemble.BaseReference) v1.Platform {
	p := v1.Platform{OS: "linux", Architecture: ref.Architecture, Variant: ref.Variant}
	if p.Architecture == "" {
		p.Architecture = hostArchitecture
	}
	return p
}

// pin is an image of a registry that will be the same tomorrow.
type pin struct {
	// name is the reference in the form of lockfile.Key, and repository its
	// part without tag and digest.
	name, repository string
	// root is what is pinned, an index or a manifest; its size may be unknown.
	root     v1.Descriptor
	platform v1.Platform
	// locked is what varve.lock says of the image, if it does.
	locked *lockfile.Image
}

// registryBase opens a base image of a registry: ref is what follows docker://.
func (g *global) registryBase(ctx context.Context, ref string, platform v1.Platform, lock string) (*image.Existing, error) {
	p, err := g.pin(ctx, ref, platform, lock)
	if err != nil {
		return nil, err
	}
	store, err := g.store(ctx)
	if err != nil {
		return nil, err
	}
	var img *image.Existing
	if store == nil {
		img, err = g.openUncached(ctx, p)
	} else {
		img, err = g.openCached(ctx, store, p)
	}
	if err != nil {
		return nil, g.baseError(p, err)
	}
	img.Names = []string{p.name}
	img.Bound(g.imageBudget())
	return img, nil
}

// baseError says what to do about a base image that cannot be opened.
func (g *global) baseError(p *pin, err error) error {
	var (
		lies    *lockfile.MismatchError
		damaged *layer.DigestError
	)
	switch {
	case errors.As(err, &lies):
		err = hint(err, "see what changed "+lockfile.Name+"; varve lock SPEC writes what the image is")
	case g.locked && errors.As(err, &damaged):
		err = hint(err, "--locked fetches nothing: build once without it, which mends the cache")
	}
	return cacheError(fmt.Errorf("base image %q: %w", p.name, err))
}

// pin finds out what a reference stands for: by its digest, by varve.lock, or
// by asking the registry where --unlocked has it so.
func (g *global) pin(ctx context.Context, ref string, platform v1.Platform, lock string) (*pin, error) {
	key, err := lockfile.Key(ref)
	if err != nil {
		return nil, usageError(err)
	}
	named, err := reference.ParseNormalizedNamed(key)
	if err != nil {
		return nil, usageError(err)
	}
	p := &pin{name: key, repository: named.Name(), platform: platform, root: v1.Descriptor{Size: -1}}
	digested, hasDigest := named.(reference.Digested)
	if g.unlocked && !hasDigest {
		opts, err := g.registryOptions(ref)
		if err != nil {
			return nil, err
		}
		r, err := registry.Resolve(ctx, ref, opts)
		if err != nil {
			return nil, err
		}
		p.root = r.Descriptor
		return p, nil
	}
	locked, err := readLock(lock)
	if err != nil {
		return nil, err
	}
	if img, ok := locked.Images[key]; ok {
		if _, err := img.Choose(platform); err != nil {
			return nil, usageError(hint(fmt.Errorf("%q: %q: %w", lock, key, err), "varve lock brings it up to date"))
		}
		p.locked, p.root.Digest = &img, img.Descriptor.Digest
	}
	if hasDigest {
		p.root.Digest = digested.Digest()
	}
	if p.root.Digest != "" {
		return p, nil
	}
	return nil, usageError(hint(fmt.Errorf("base image %q is not pinned: its tag may name another image tomorrow", dockerRegistry+"://"+ref),
		"varve lock SPEC pins it in varve.lock beside the spec", "or name it by digest: docker://…@sha256:…", "or give --unlocked to take what the tag names now"))
}

// readLock reads a varve.lock. One that does not exist is empty.
func readLock(path string) (*lockfile.File, error) {
	data, err := regfile.Read(path, lockfile.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return &lockfile.File{}, nil
	}
	if err != nil {
		return nil, fileError(fmt.Errorf("read %q: %w", path, cause(err)))
	}
	f, err := lockfile.Parse(data)
	if err != nil {
		return nil, usageError(fmt.Errorf("%q: %w", path, err))
	}
	return f, nil
}

// openUncached opens an image without a cache.
func (g *global) openUncached(ctx context.Context, p *pin) (*image.Existing, error) {
	opts, err := g.registryOptions(p.repository)
	if err != nil {
		return nil, err
	}
	r, err := registry.Resolve(ctx, p.repository+"@"+p.root.Digest.String(), opts)
	if err != nil {
		return nil, err
	}
	img, _, err := openPinned(ctx, r, p)
	return img, err
}

// openPinned opens the image that is pinned, whose parts are in from. root is
// what is pinned, of which everything is known then. What varve.lock says decides
// nothing: it has to be what is found without it.
func openPinned(ctx context.Context, from image.Blobs, p *pin) (img *image.Existing, root v1.Descriptor, err error) {
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

// choose chooses the image for the platform of those in the index.
func (p *pin) choose(ctx context.Context, list []v1.Descriptor, from image.Blobs) (v1.Descriptor, error) {
	n, err := image.Choose(ctx, list, p.platform, func(ctx context.Context, n int) (v1.Platform, error) {
		img, err := image.Open(ctx, list[n], from, p.repository)
		if err != nil {
			return v1.Platform{}, err
		}
		return img.Platform(), nil
	})
	switch {
	case err == nil:
		return list[n], nil
	case p.locked != nil: // which has one
		return v1.Descriptor{}, &lockfile.MismatchError{Err: err}
	}
	return v1.Descriptor{}, usageError(err)
}

// check compares the image with what varve.lock says of it.
func (p *pin) check(root v1.Descriptor, img *image.Existing) error {
	if p.locked == nil {
		return nil
	}
	found, err := lockfile.NewChosen(root, lockedPlatform(img), img.ManifestDescriptor, img.Manifest)
	if err != nil {
		return err
	}
	return p.locked.Check(found)
}

// openCached opens an image whose parts are in the cache, or get there first.
func (g *global) openCached(ctx context.Context, store *cache.Store, p *pin) (*image.Existing, error) {
	b := &cachedBlobs{store: store}
	if !g.locked {
		b.remote = &remote{g: g, repository: p.repository}
	}
	img, root, err := openPinned(ctx, b, p)
	if err != nil {
		return nil, err
	}
	if err := g.fill(ctx, b, img, p.repository); err != nil {
		return nil, err
	}
	if !ocijson.IsIndex(root.MediaType) {
		own := img.Platform()
		root.Platform = &own
	}
	full := ""
	if !strings.Contains(p.name, "@") {
		full = p.name
	}
	return img, store.Use(ctx, root, p.repository+"@"+root.Digest.String(), full, g.streams.Now())
}

// fetches is how many layers are fetched at once.
const fetches = 4

// fill brings an image's layers into the cache.
func (g *global) fill(ctx context.Context, b *cachedBlobs, img *image.Existing, title string) error {
	lacking := 0
	for _, l := range img.Layers {
		if !b.store.Has(l.Stored().Digest) {
			lacking++
		}
	}
	if lacking > 0 && b.remote != nil {
		task := g.ui.Progress(ctx, lacking, "fetching "+title)
		defer task.Finish()
		b.remote.observe = observe(task)
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(fetches)
	for _, l := range img.Layers {
		if len(l.Stored().URLs) > 0 { // it is kept elsewhere
			continue
		}
		tasks.Go(func() error {
			r, err := b.Fetch(ctx, l.Stored())
			if err != nil {
				return err
			}
			return r.Close()
		})
	}
	return tasks.Wait()
}
