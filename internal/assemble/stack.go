package assemble

import (
	"context"
	"slices"

	"github.com/varve-image/varve/tree"
)

// stack is the file system that the layers so far show together. It is a value: a
// phase that adds to the layers returns another one.
type stack struct {
	// base is the image below them all; nil for none.
	base *base
	// entries is everything they show; own is the part that is not from the base.
	entries, own []*tree.Entry
	// under is what the layers show with what the next one removes, which is not in
	// entries; nil if it removes nothing.
	under []*tree.Entry
}

func stackOn(base *base) stack {
	if base == nil {
		return stack{}
	}
	return stack{base: base, entries: base.entries}
}

// lower returns what the layers show without the removals of the next one.
func (s stack) lower() []*tree.Entry {
	if s.under != nil {
		return s.under
	}
	return s.entries
}

// find returns what the layers show at path; nil for nothing.
func (s stack) find(path string) *tree.Entry { return tree.Find(s.entries, path) }

// put puts a tree on the existing layers and returns it as it fits on them: with
// whiteouts for what the layer removes, and the rest as laid puts it.
func (s stack) put(ctx context.Context, entries []*tree.Entry, policy tree.Conflicts) ([]*tree.Entry, stack, error) {
	under := s.under
	s.under = nil
	entries, s, err := s.laid(ctx, entries, policy)
	if err == nil && under != nil {
		entries, err = hide(ctx, under, s.entries, entries)
	}
	return entries, s, err
}

// laid puts a tree on the existing layers and returns it as it fits on them: what
// lies below one of their symlinks to a directory goes where the symlink leads, and
// directories that are in the tree only to hold something get the attributes that
// they have below. The base's files may be replaced. A file of another explicit
// layer is a conflict, as between two sources of one layer, which policy decides.
func (s stack) laid(ctx context.Context, entries []*tree.Entry, policy tree.Conflicts) (_ []*tree.Entry, _ stack, err error) {
	if entries == nil {
		return nil, s, nil
	}
	if s.entries != nil {
		if entries, err = tree.Through(ctx, s.entries, entries, policy); err != nil {
			return nil, s, err
		}
	}
	if policy == tree.ConflictFirst {
		entries = withoutFiles(entries, s.own)
	}
	merge := func(policy tree.Conflicts, below []*tree.Entry) ([]*tree.Entry, error) {
		return tree.Merge(ctx, tree.MergeOptions{Conflicts: policy}, below, entries)
	}
	if s.own, err = merge(policy, s.own); err != nil {
		return nil, s, err
	}
	s.entries, err = merge(tree.ConflictLast, s.entries)
	return entries, s, err
}

// extended returns the stack on which a tree may replace files of explicit layers
// without conflict, since it contains what they contain.
func (s stack) extended(by []*tree.Entry) stack {
	extends := map[string]bool{}
	for _, e := range by {
		extends[e.Path] = e.Type == tree.Regular
	}
	s.own = slices.DeleteFunc(slices.Clone(s.own), func(e *tree.Entry) bool { return extends[e.Path] })
	return s
}

// replaced returns the stack on which a tree may have other files and directories
// than explicit layers, without conflict.
func (s stack) replaced(by []*tree.Entry) stack {
	if len(by) == 0 {
		return s
	}
	s.own = slices.DeleteFunc(slices.Clone(s.own), func(e *tree.Entry) bool {
		n := tree.Find(by, e.Path)
		return n != nil && !n.Implied
	})
	return s
}

// withoutFiles leaves out the files that exist in a lower tree.
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
