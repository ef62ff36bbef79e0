package tree

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/varve-image/varve/internal/problems"
)

// node is a file in a tree that is being assembled.
type node struct {
	entry *Entry
	// file is a regular file's content.
	file *extent
	// children holds a directory's nodes by name.
	children map[string]*node

	// The fields below are used only in the tree of a single layer.

	// link is the path of the lower layer's file that this node is a hard link
	// to.
	link string
}

func (n *node) set(name string, child *node) {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	n.children[name] = child
}

// grow returns the nodes of a complete tree. It changes no entry.
func grow(entries []*Entry) (*node, error) {
	sorted, err := Complete(entries)
	if err != nil {
		return nil, err
	}
	root := &node{entry: sorted[0]}
	dirs := []*node{root} // the directories above the current entry
	for _, e := range sorted[1:] {
		for !below(e.Path, dirs[len(dirs)-1].entry.Path) {
			dirs = dirs[:len(dirs)-1]
		}
		n := &node{entry: e}
		dirs[len(dirs)-1].set(path.Base(e.Path), n)
		dirs = append(dirs, n)
	}
	return root, nil
}

// walk visits n and all below it in canonical order.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		n.children[name].walk(visit)
	}
}

// put lays the layer over root, the tree of all layers below it.
func (x *layerIndex) put(root *node) error {
	var bad problems.List
	for _, n := range x.links {
		// A link refers to what is there before this layer changes anything.
		target, err := root.follow(n.link)
		if err == nil && target == nil {
			err = fmt.Errorf("which is neither in the layer before it nor in a lower layer")
		}
		if err != nil {
			bad.Addf("entry %q: it is a hard link to %q, %w", brief(n.entry.Path), brief(n.link), err)
			continue
		}
		e := *target.entry
		e.Path, e.Source = n.entry.Path, n.entry.Source
		n.entry, n.file, n.link = &e, target.file, ""
	}
	if bad.Len() == 0 {
		x.hides.apply(root, x.root, &bad)
	}
	if bad.Len() == 0 {
		cover(root, x.root)
	}
	return bad.Err()
}

// cover lays the directory upper of a layer over the directory lower, from which
// what the layer hides has been removed.
func cover(lower, upper *node) {
	if !upper.entry.Implied {
		lower.entry = upper.entry
	}
	for name, above := range upper.children {
		if above.entry.Type != Dir {
			lower.set(name, above)
			continue
		}
		below := lower.children[name]
		if below == nil || below.entry.Type != Dir {
			below = &node{entry: above.entry}
			lower.set(name, below)
		}
		cover(below, above)
	}
}
