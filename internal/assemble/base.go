package assemble

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// OpenBaseFunc opens the image that another one builds on. It stays open as long as
// the Result. Its errors say whether the spec or the image is at fault.
type OpenBaseFunc func(ctx context.Context, ref spec.Base) (*image.Stored, error)

// base is the image that another one is built on; nil for none.
type base struct {
	image *image.Stored
	// platform is the platform that the base's config states, in Go's names.
	platform v1.Platform
	// overlay is the file system that its layers show; entries is its tree.
	overlay *tree.Overlay
	entries []*tree.Entry
}

// find returns what the base has at path; nil for nothing.
func (b *base) find(path string) *tree.Entry {
	if b == nil {
		return nil
	}
	return tree.Find(b.entries, path)
}

// layers returns the number of the base's layers.
func (b *base) layers() int {
	if b == nil {
		return 0
	}
	return len(b.image.DiffIDs)
}

// openBase opens the base image and reads the headers of its layers.
func (b *builder) openBase(ctx context.Context) (*base, error) {
	s := b.spec
	ref, ok := s.Base()
	if !ok {
		return nil, nil
	}
	if b.opts.OpenBase == nil {
		return nil, &SpecError{"fromImage", errors.New("base images are not opened here")}
	}
	existing, err := b.opts.OpenBase(ctx, ref)
	if err != nil { // OpenBase knows whose fault it is
		return nil, fmt.Errorf("fromImage: %w", err)
	}
	overlay, err := existing.Files(ctx, tree.OverlayOptions{TempDir: b.opts.TempDir, MaxBytes: b.opts.MaxUnpacked, MaxEntries: b.opts.MaxEntries})
	if err != nil {
		return nil, fmt.Errorf("fromImage: %w", err)
	}
	b.closers = append(b.closers, overlay)
	b.debugf("fromImage: %q: layers: %d, files: %d", s.FromImage, len(existing.DiffIDs), len(overlay.Entries))
	platform, err := readPlatform(existing.Config)
	if err != nil {
		return nil, fmt.Errorf("fromImage: its config: %w", err)
	}
	opened := &base{image: existing, platform: platform, overlay: overlay, entries: overlay.Entries}
	return opened, b.checkBase(opened)
}

// checkBase refuses a base that the spec does not fit.
func (b *builder) checkBase(base *base) error {
	own := base.platform
	if want := b.spec.Architecture; want != "" && own.Architecture != "" && want != own.Architecture {
		return &SpecError{"fromImage", fmt.Errorf("the base is for %q, and the spec asks for %q", own.Architecture, want)}
	}
	if want := b.spec.Variant; want != "" && own.Variant != "" && want != own.Variant {
		return &SpecError{"fromImage", fmt.Errorf("the base is for %s of %q, and the spec asks for %s", own.Variant, own.Architecture, want)}
	}
	for _, dir := range storeDirs() {
		if e := base.find(dir); e != nil && e.Type != tree.Dir {
			return &SpecError{"fromImage", fmt.Errorf("the base has a %s at /%s, where store paths have to go", e.Type, dir)}
		}
	}
	return nil
}

// readPlatform reads the platform of an image from its config, in Go's names.
func readPlatform(config *ordjson.Object) (p v1.Platform, err error) {
	for key, to := range map[string]*string{"architecture": &p.Architecture, "variant": &p.Variant, "os": &p.OS} {
		if *to, err = config.String(key); err != nil {
			return p, err
		}
	}
	return ocijson.Normal(p), nil
}
