package dockertools

import (
	"context"
	"fmt"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/treefile"
	"github.com/varve-image/varve/tree"
)

// Export writes the file system that an image's layers show, as exportImage does. An
// epoch, if given, is the time of all files, in seconds since 1970.
func (t *Tools) Export(ctx context.Context, img *image.Stored, out *treefile.Output, epoch *int64) error {
	overlay, err := img.Files(ctx, t.places().OverlayOptions())
	if err != nil {
		return err
	}
	defer overlay.Close()
	if epoch != nil {
		for _, e := range overlay.Entries {
			e.ModTime = *epoch
		}
	}
	if out.IsDir() {
		return t.writeTree(ctx, out, overlay.Entries, tree.WriteOptions{Contents: overlay.Each})
	}
	if err := overlay.Spool(ctx); err != nil {
		return err
	}
	return t.writeTree(ctx, out, overlay.Entries, tree.WriteOptions{})
}

// MergeTrees merges directories and tarballs, later ones over earlier ones, as mergeDrvs does.
// All files have the time of the epoch, or without one the first second of 1970.
func (t *Tools) MergeTrees(ctx context.Context, sources []string, out *treefile.Output, epoch *int64) error {
	var trees [][]*tree.Entry
	for _, source := range sources {
		entries, closer, err := treefile.Read(ctx, source, t.places().TarOptions())
		if err != nil {
			return err
		}
		defer closer.Close()
		trees = append(trees, entries)
	}
	merged, err := tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictLast, KeepDirlinks: true}, trees...)
	if err != nil {
		return err
	}
	for _, e := range merged {
		if e.ModTime = 1; epoch != nil {
			e.ModTime = *epoch
		}
	}
	if err := t.writeTree(ctx, out, merged, tree.WriteOptions{}); err != nil {
		return fmt.Errorf("write tree to %q: %w", out.Path, err)
	}
	return nil
}

// writeTree writes a tree, and reports what a directory lacks of it.
func (t *Tools) writeTree(ctx context.Context, out *treefile.Output, entries []*tree.Entry, opts tree.WriteOptions) error {
	omitted, err := out.Write(ctx, entries, opts)
	if err == nil && len(omitted) > 0 && t.opts.Omitted != nil {
		t.opts.Omitted(out.Path, omitted)
	}
	return err
}
