package assemble

import (
	"context"

	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// storeDirs returns the directories that every store layer has.
func storeDirs() []string { return []string{"nix", "nix/store"} }

// storeOwner returns the owner of the store paths and of what belongs to the store.
func (b *builder) storeOwner() (uid, gid uint32) {
	if b.spec.Layering == spec.Single {
		return 0, 0
	}
	return b.spec.UID, b.spec.GID
}

// asStoreLayers gives the store's directories in a tree the owner that they have in
// store layers, unless the tree says otherwise or the base has them.
func (b *builder) asStoreLayers(base *base, entries []*tree.Entry) {
	for _, dir := range storeDirs() {
		e := tree.Find(entries, dir)
		if e != nil && e.Implied && base.find(dir) == nil {
			e.UID, e.GID = b.storeOwner()
		}
	}
}

// restateStore adds the directories of the store to the top layer if the base has
// them with other attributes than store layers give them.
func (b *builder) restateStore(ctx context.Context, base *base, top []*tree.Entry) ([]*tree.Entry, error) {
	var again []*tree.Entry
	for _, dir := range storeDirs() {
		e := base.find(dir)
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
	return tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictFirst}, again, top)
}
