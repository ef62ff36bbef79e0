package assemble

import (
	"errors"
	"fmt"

	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// topTree makes the tree of the top layer: links to the files of contents,
// copies, presets.
func (b *builder) topTree(contents []content, outside []spec.Copy) ([]*tree.Entry, error) {
	s := b.spec
	sources, err := b.contentTrees(contents)
	if err != nil {
		return nil, err
	}
	copies, err := b.copies("contents", outside, s.KeepContentsDirlinks)
	more, moreErr := b.copies("copyToRoot", s.CopyToRoot, s.KeepContentsDirlinks)
	if err := errors.Join(err, moreErr); err != nil {
		return nil, err
	}
	sources = append(append(sources, copies...), more...)
	if b.opts.Files != nil {
		sources = append(sources, b.opts.Files)
	}
	return b.withPresets(sources)
}

// finishTop has the spec's scripts change the top tree, finds the store paths
// that are needed then, applies the perms, and puts the tree on the layers below.
func (b *builder) finishTop(contents []content, groups []*group, top []*tree.Entry) (_ []*tree.Entry, err error) {
	policy := conflicts(b.spec.Conflicts)
	if b.spec.RunAsRoot != "" {
		policy = tree.ConflictLast // the tree is on the layers below already
		if top, err = b.runAsRoot(top); err != nil {
			return nil, err
		}
	}
	if top, err = b.settleStore(contents, groups, top); err != nil {
		return nil, err
	}
	if err := applyPerms(top, b.spec.Perms); err != nil {
		return nil, specError("perms", err)
	}
	top, err = b.onto(top, policy)
	return top, specError("conflicts", err)
}

// contentTrees are the trees of contents: links to its files, or copies in an
// image of a single layer.
func (b *builder) contentTrees(contents []content) ([][]*tree.Entry, error) {
	if b.spec.Layering != spec.Single {
		join := make([]tree.JoinSource, len(contents))
		for i, c := range contents {
			physical, _, err := b.follow(c.path) // as lndir does
			if err != nil {
				return nil, specError(fmt.Sprintf("contents[%d]", i), err)
			}
			join[i] = tree.JoinSource{Logical: c.path, Physical: physical}
		}
		trees, err := tree.SymlinkJoin(b.ctx, join)
		return trees, specError("contents", err)
	}
	copies := make([]spec.Copy, len(contents))
	for i, c := range contents {
		copies[i].Source = c.path
	}
	return b.copies("contents", copies, b.spec.KeepContentsDirlinks)
}

// withPresets merges the sources with the presets, which are the weaker ones
// where the spec lets one source win.
func (b *builder) withPresets(sources [][]*tree.Entry) ([]*tree.Entry, error) {
	s := b.spec
	own, err := b.merge(s.KeepContentsDirlinks, append([][]*tree.Entry{rootDir()}, sources...)...)
	if err != nil {
		return nil, specError("conflicts", err)
	}
	var presets [][]*tree.Entry
	for i, p := range s.Presets {
		entries, err := b.preset(p, own)
		if err != nil {
			return nil, specError(fmt.Sprintf("presets[%d]: %s", i, p.Name), presetError(err))
		}
		presets = append(presets, entries)
	}
	// Own comes first under any policy, so that presets go through its symlinks;
	// no two presets have a file in common.
	policy := conflicts(s.Conflicts)
	if policy == tree.ConflictLast {
		policy = tree.ConflictFirst
	}
	opts := tree.MergeOptions{Conflicts: policy, KeepDirlinks: s.KeepContentsDirlinks}
	top, err := tree.Merge(b.ctx, opts, append([][]*tree.Entry{own}, presets...)...)
	return top, specError("conflicts", err)
}

// rootDir is the tree of a root directory alone.
func rootDir() []*tree.Entry {
	return []*tree.Entry{tree.NewImpliedDir(".")}
}
