package assemble

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// topTree makes the tree of the top layer: links to the files of contents (also of
// the explicit layers), copies, presets. Presets may add to files of explicit
// layers; the returned stack allows that.
func (b *builder) topTree(ctx context.Context, below stack, groups []*group) ([]*tree.Entry, stack, error) {
	s := b.spec
	links, outside := b.splitContents(s.Contents)
	for _, g := range groups {
		links = append(links, g.contents...)
	}
	sources, err := b.contentTrees(ctx, below, links)
	if err != nil {
		return nil, below, err
	}
	if below, sources, err = b.remove(below, sources, "remove", s.Remove); err != nil {
		return nil, below, err
	}
	copies, err := b.copies(ctx, below, "contents", outside, s.KeepContentsDirlinks)
	more, moreErr := b.copies(ctx, below, "copyToRoot", s.CopyToRoot, s.KeepContentsDirlinks)
	made, linkErr := symlinks("symlinks", s.Symlinks)
	if err := errors.Join(err, moreErr, linkErr); err != nil {
		return nil, below, err
	}
	sources = slices.Concat(sources, copies, more, someTree(made))
	if b.opts.Files != nil {
		sources = append(sources, b.opts.Files)
	}
	own, below, err := b.withPresets(ctx, below, sources)
	if err != nil {
		return nil, below, err
	}
	return b.layerFiles(ctx, below, "", own, s.LayerFiles)
}

// topPolicy is what happens where the top tree meets files of explicit layers.
func (b *builder) topPolicy() tree.Conflicts {
	if b.spec.RunAsRoot != "" {
		return tree.ConflictLast // the tree is on the layers below already
	}
	return conflicts(b.spec.Conflicts)
}

// contentTrees returns the trees of contents: links to its files, or copies in an
// image of a single layer.
func (b *builder) contentTrees(ctx context.Context, below stack, contents []content) ([][]*tree.Entry, error) {
	if b.spec.Layering != spec.Single {
		join := make([]tree.JoinSource, len(contents))
		for i, c := range contents {
			physical, _, err := b.follow(c.path) // as lndir does
			if err != nil {
				return nil, specError(fmt.Sprintf("contents[%d]", i), err)
			}
			join[i] = tree.JoinSource{Logical: c.path, Physical: physical}
		}
		trees, err := tree.SymlinkJoin(ctx, join)
		return trees, specError("contents", err)
	}
	copies := make([]spec.Copy, len(contents))
	for i, c := range contents {
		copies[i].Source = c.path
	}
	return b.copies(ctx, below, "contents", copies, b.spec.KeepContentsDirlinks)
}

// withPresets merges the sources with the presets, which yield to them if the spec
// lets one source win.
func (b *builder) withPresets(ctx context.Context, below stack, sources [][]*tree.Entry) ([]*tree.Entry, stack, error) {
	s := b.spec
	own, err := b.merge(ctx, s.KeepContentsDirlinks, append([][]*tree.Entry{rootDir()}, sources...)...)
	if err != nil {
		return nil, below, specError("conflicts", err)
	}
	var presets [][]*tree.Entry
	for i := range s.Presets {
		files, err := b.preset(i, below, own)
		if err != nil {
			return nil, below, err
		}
		if files.Extends {
			b.tellExtended(below, files.Entries)
			below = below.extended(files.Entries)
		}
		presets = append(presets, files.Entries)
	}
	// own comes first under any policy, so that presets go through its symlinks; no
	// two presets have a file in common.
	policy := conflicts(s.Conflicts)
	if policy == tree.ConflictLast {
		policy = tree.ConflictFirst
	}
	opts := tree.MergeOptions{Conflicts: policy, KeepDirlinks: s.KeepContentsDirlinks}
	top, err := tree.Merge(ctx, opts, append([][]*tree.Entry{own}, presets...)...)
	return top, below, specError("conflicts", err)
}

// rootDir returns a tree of a root directory alone.
func rootDir() []*tree.Entry {
	return []*tree.Entry{tree.NewImpliedDir(".")}
}
