package base

import (
	"context"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
)

// LockUpdate is the result of looking up references for a varve.lock.
type LockUpdate struct {
	// File has what the references stand for now, and everything else that the file had.
	File *lockfile.File
	// Changes are the references' changes, in their order; the text of one is empty if it stands
	// for the same as before.
	Changes []lockfile.Change
}

// Changed returns how many images are different than before.
func (u *LockUpdate) Changed() int {
	n := 0
	for _, c := range u.Changes {
		if c.Text != "" {
			n++
		}
	}
	return n
}

// UpdateLock looks up references, which are in the form of lockfile.Key, for the varve.lock at
// path, and writes nothing. Options.Warn is called for images that are left out.
func UpdateLock(ctx context.Context, path string, refs []string, opts place.Options) (*LockUpdate, error) {
	old, err := ReadLock(path)
	if err != nil {
		return nil, err
	}
	found := &lockfile.File{Images: map[string]lockfile.Image{}}
	for _, ref := range slices.Compact(slices.Sorted(slices.Values(refs))) {
		if found.Images[ref], err = LookUp(ctx, ref, opts); err != nil {
			return nil, err
		}
	}
	file := &lockfile.File{LayerFormat: old.LayerFormat, Images: map[string]lockfile.Image{}}
	maps.Copy(file.Images, old.Images)
	maps.Copy(file.Images, found.Images)
	return &LockUpdate{file, lockfile.Diff(old, found)}, nil
}

// LookUp asks a registry what a reference stands for, for Linux on each architecture. Images
// that no build could use are left out, and Options.Warn is called for them.
func LookUp(ctx context.Context, ref string, opts place.Options) (lockfile.Image, error) {
	registryOpts, err := opts.RegistryOptions(ref)
	if err != nil {
		return lockfile.Image{}, err
	}
	r, err := registry.Resolve(ctx, ref, registryOpts)
	if err != nil {
		return lockfile.Image{}, err
	}
	img := lockfile.NewImage(r.Descriptor)
	taken := map[string]bool{}
	for _, d := range r.Manifests {
		if d.Platform != nil && d.Platform.OS != "linux" { // nothing is built on it
			continue
		}
		existing, why, err := buildable(ctx, r, d, taken)
		switch {
		case err != nil:
			return img, err
		case why != nil:
			if opts.Warn != nil {
				opts.Warn(fmt.Sprintf("%s: left out: %v", ref, why))
			}
			continue
		}
		if err := addPlatform(&img, existing); err != nil {
			return img, fmt.Errorf("lock image %q: %w", ref, err)
		}
	}
	if len(img.Platforms) == 0 {
		return img, fmt.Errorf("lock image %q: its index has no image for linux", ref)
	}
	return img, nil
}

// buildable opens the image of a manifest, or returns why no build could use it. taken holds the
// platforms of the images before it.
func buildable(ctx context.Context, r *registry.Resolved, d v1.Descriptor, taken map[string]bool) (existing *image.Stored, why, err error) {
	if d.Platform == nil && slices.ContainsFunc(r.Manifests, func(d v1.Descriptor) bool { return d.Platform != nil }) {
		return nil, fmt.Errorf("manifest %s: the index does not say what platform it is for", d.Digest), nil
	}
	if existing, err = r.Image(ctx, d); err != nil {
		return nil, nil, err
	}
	if err := existing.CheckPlatform(); err != nil {
		return nil, err, nil
	}
	key := ocijson.Key(existing.ListedFor())
	if taken[key] {
		return nil, fmt.Errorf("manifest %s: another one is for platform %s, and comes first", d.Digest, LockedPlatform(existing)), nil
	}
	taken[key] = true
	return existing, nil, nil
}

func addPlatform(img *lockfile.Image, existing *image.Stored) error {
	d, name := existing.ManifestDescriptor, LockedPlatform(existing)
	if _, err := ocijson.ParsePlatform(name); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	m, err := lockfile.NewManifest(d, existing.Manifest)
	img.Platforms[name] = m
	return err
}
