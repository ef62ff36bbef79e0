package assemble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// base is the image that another one is built on.
type base struct {
	image *image.Stored
	// platform is what its config says that it is for, as Go names it.
	platform v1.Platform
	// overlay is the file system that its layers show, entries its tree.
	overlay *tree.Overlay
	entries []*tree.Entry
}

// openBase opens the base image and reads the headers of its layers.
func (b *builder) openBase() error {
	s := b.spec
	ref, ok := s.Base()
	if !ok {
		return nil
	}
	if b.opts.OpenBase == nil {
		return &SpecError{"fromImage", errors.New("base images are not opened here")}
	}
	existing, err := b.opts.OpenBase(b.ctx, ref)
	if err != nil { // whose fault it is OpenBase knows
		return fmt.Errorf("fromImage: %w", err)
	}
	layers := make([]tree.LayerSource, len(existing.StoredLayers()))
	for i, l := range existing.StoredLayers() {
		layers[i] = l
		b.result.Layers = append(b.result.Layers, PlannedLayer{Kind: KindBase, Paths: []string{}, Size: uint64(l.Stored().Size)})
	}
	overlay, err := tree.OpenOverlay(b.ctx, layers, tree.OverlayOptions{TempDir: b.opts.TempDir, MaxBytes: b.opts.MaxUnpacked, MaxEntries: b.opts.MaxEntries})
	if err != nil {
		return fmt.Errorf("fromImage: %w", err)
	}
	b.result.closers = append(b.result.closers, overlay)
	b.base = &base{image: existing, overlay: overlay, entries: overlay.Entries}
	b.debugf("fromImage: %q: layers: %d, files: %d", s.FromImage, len(layers), len(overlay.Entries))
	b.below = overlay.Entries
	return b.checkBase()
}

// checkBase refuses a base that the spec does not fit.
func (b *builder) checkBase() error {
	var err error
	if b.base.platform, err = readPlatform(b.base.image.Config); err != nil {
		return fmt.Errorf("fromImage: its config: %w", err)
	}
	own := b.base.platform
	if want := b.spec.Architecture; want != "" && own.Architecture != "" && want != own.Architecture {
		return &SpecError{"fromImage", fmt.Errorf("the base is for %q, and the spec asks for %q", own.Architecture, want)}
	}
	if want := b.spec.Variant; want != "" && own.Variant != "" && want != own.Variant {
		return &SpecError{"fromImage", fmt.Errorf("the base is for %s of %q, and the spec asks for %s", own.Variant, own.Architecture, want)}
	}
	for _, dir := range storeDirs() {
		if e := tree.Find(b.base.entries, dir); e != nil && e.Type != tree.Dir {
			return &SpecError{"fromImage", fmt.Errorf("the base has a %s at /%s, where store paths have to go", e.Type, dir)}
		}
	}
	return nil
}

// readPlatform reads what a config says that its image is for, as Go names it.
func readPlatform(config *ordjson.Object) (p v1.Platform, err error) {
	for key, to := range map[string]*string{"architecture": &p.Architecture, "variant": &p.Variant, "os": &p.OS} {
		if *to, err = config.String(key); err != nil {
			return p, err
		}
	}
	return ocijson.Normal(p), nil
}

// onto puts a tree on the layers that are there already: what lies below one of
// their symlinks to a directory goes to where that leads, and directories that
// are in the tree only to hold something get the attributes that they have
// below. The base's files may be replaced; those of another explicit layer are
// a conflict as between two sources of one layer, which policy decides.
func (b *builder) onto(entries []*tree.Entry, policy tree.Conflicts) ([]*tree.Entry, error) {
	if entries == nil {
		return nil, nil
	}
	if b.below != nil {
		var err error
		if entries, err = tree.Through(b.ctx, b.below, entries, policy); err != nil {
			return nil, err
		}
	}
	if policy == tree.ConflictFirst {
		entries = withoutFiles(entries, b.own)
	}
	merge := func(policy tree.Conflicts, below []*tree.Entry) (_ []*tree.Entry, err error) {
		return tree.Merge(b.ctx, tree.MergeOptions{Conflicts: policy}, below, entries)
	}
	var err error
	if b.own, err = merge(policy, b.own); err != nil {
		return nil, err
	}
	b.below, err = merge(tree.ConflictLast, b.below)
	return entries, err
}

// storeDirs are the directories that every store layer has.
func storeDirs() []string { return []string{"nix", "nix/store"} }

// storeOwner is who owns the store paths and what belongs to the store.
func (b *builder) storeOwner() (uid, gid uint32) {
	if b.spec.Layering == spec.Single {
		return 0, 0
	}
	return b.spec.UID, b.spec.GID
}

// asStoreLayers gives the store's directories in a tree, where nothing is said
// of them and the base has none, the owner that they have in store layers.
func (b *builder) asStoreLayers(entries []*tree.Entry) {
	for _, dir := range storeDirs() {
		e := tree.Find(entries, dir)
		if e != nil && e.Implied && (b.base == nil || tree.Find(b.base.entries, dir) == nil) {
			e.UID, e.GID = b.storeOwner()
		}
	}
}

// restateStore adds the directories of the store to the top layer where the
// base has them with other attributes than store layers give them.
func (b *builder) restateStore(top []*tree.Entry) ([]*tree.Entry, error) {
	if b.base == nil {
		return top, nil
	}
	var again []*tree.Entry
	for _, dir := range storeDirs() {
		e := tree.Find(b.base.entries, dir)
		if e == nil || e.Mode == 0o755 && e.UID == b.spec.UID && e.GID == b.spec.GID && len(e.Xattrs) == 0 {
			continue
		}
		c := *e
		c.Implied = false
		again = append(again, &c)
	}
	if len(again) == 0 {
		return top, nil
	}
	return tree.Merge(b.ctx, tree.MergeOptions{Conflicts: tree.ConflictFirst}, again, top)
}

// withoutFiles leaves out the files that there are in a lower tree.
func withoutFiles(entries, lower []*tree.Entry) []*tree.Entry {
	if len(lower) == 0 {
		return entries
	}
	var kept []*tree.Entry
	for _, e := range entries {
		if e.Type == tree.Dir || tree.Find(lower, e.Path) == nil {
			kept = append(kept, e)
		}
	}
	return kept
}

// assemble describes the image of the base and the layers that were added to it.
func (b *builder) assemble(img *image.Description) error {
	if b.base == nil {
		return nil
	}
	existing := b.base.image
	config, err := existing.Run()
	if err != nil {
		return fmt.Errorf("fromImage: its config: %w", err)
	}
	if img.Config, err = inheritConfig(config, b.spec.Config, b.spec.Inherit); err != nil {
		return fmt.Errorf("fromImage: its config: %w", err)
	}
	img.Base = existing
	if name, ok := strings.CutPrefix(b.spec.FromImage, "docker://"); ok {
		img.Annotations = image.BaseAnnotations(img.Annotations, name, existing)
	}
	img.Layers = append(existing.Layers(), b.layers...)
	own := b.base.platform
	img.Architecture = cmp.Or(own.Architecture, img.Architecture)
	img.Variant = cmp.Or(own.Variant, img.Variant)
	img.OS = cmp.Or(own.OS, img.OS)
	if img.OS != "linux" {
		return &SpecError{"fromImage", errors.New("the base is an image for " + img.OS + ", and varve builds for linux")}
	}
	return nil
}

// baseLayers is how many layers the base has.
func (b *builder) baseLayers() int {
	if b.base == nil {
		return 0
	}
	return len(b.base.image.DiffIDs)
}

// OpenBaseFunc opens the image that one builds on. It stays open as long as
// the Result. Whether the spec is at fault, or the image, its errors tell.
type OpenBaseFunc func(ctx context.Context, ref spec.Base) (*image.Stored, error)
