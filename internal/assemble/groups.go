package assemble

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// group is an explicit layer of the spec.
type group struct {
	// field is the spec's field that asks for it.
	field, title string

	contents []content
	// tree is what is copied into the layer; nil for nothing.
	tree []*tree.Entry
	// lifted are the files in it that are of the layers below but for their mode or
	// owner.
	lifted []*tree.Entry
	// built is a layer that was built by itself; nil for others. It is implied if
	// the image has it only because another one was built on it.
	built   *BuiltLayer
	implied bool
}

// empty reports whether a layer has nothing in it, since layers before it have the
// store paths that it asks for.
func (g *group) empty(paths []string) bool {
	return g.tree == nil && len(paths) == 0 && (g.built == nil || !g.built.Tree)
}

// searched returns the files of the layer that can mention store paths: not those
// that are of the layers below, and not the names of what it removes.
func (g *group) searched() []*tree.Entry {
	own, whiteouts := tree.Whiteouts(g.tree)
	if len(g.lifted)+len(whiteouts) == 0 {
		return g.tree
	}
	return slices.DeleteFunc(own, func(e *tree.Entry) bool {
		l := tree.Find(g.lifted, e.Path)
		return l != nil && !l.Implied
	})
}

// readGroups reads the explicit layers and puts each on the layers below it.
func (b *builder) readGroups(ctx context.Context, below stack) ([]*group, stack, error) {
	if b.spec.Layering == spec.Single && len(b.spec.Layers) > 0 {
		return nil, below, &SpecError{"layers", errors.New("an image with layering: single has no other layers")}
	}
	var groups []*group
	for i, g := range b.spec.Layers {
		field := fmt.Sprintf("layers[%d]", i)
		if g.Built != "" {
			made, on, err := b.builtGroups(ctx, below, groups, field, g.Built)
			if err != nil {
				return nil, below, specError(field+".built", err)
			}
			b.debugf("%s: taking the layer in %q as it is", field, g.Built)
			groups, below = append(groups, made...), on
			continue
		}
		made, on, err := b.readGroup(ctx, below, field, g)
		if err != nil {
			return nil, below, err
		}
		groups, below = append(groups, made), on
	}
	return groups, below, nil
}

// readGroup reads an explicit layer and puts it on the layers below it.
func (b *builder) readGroup(ctx context.Context, below stack, field string, g spec.Group) (*group, stack, error) {
	below, _, err := b.remove(below, nil, field+".remove", g.Remove)
	if err != nil {
		return nil, below, err
	}
	lower := below.entries
	inStore, outside := b.splitContents(g.Contents)
	copies, err := b.copies(ctx, below, field+".contents", outside, g.KeepContentsDirlinks)
	more, moreErr := b.copies(ctx, below, field+".copyToRoot", g.CopyToRoot, g.KeepContentsDirlinks)
	links, linkErr := symlinks(field+".symlinks", g.Symlinks)
	if err := errors.Join(err, moreErr, linkErr); err != nil {
		return nil, below, err
	}
	made := &group{field: field, title: field, contents: inStore}
	if sources := slices.Concat(copies, more, someTree(links)); len(sources) > 0 {
		if made.tree, err = b.merge(ctx, g.KeepContentsDirlinks, append([][]*tree.Entry{rootDir()}, sources...)...); err != nil {
			return nil, below, specError(field, err)
		}
	}
	if made.tree, below, err = b.layerFiles(ctx, below, field+".", made.tree, g.LayerFiles); err != nil {
		return nil, below, err
	}
	done, err := b.finish(ctx, below, made.tree, finish{field + ".perms", field, g.Perms, conflicts(b.spec.Conflicts), lower})
	if err != nil {
		return nil, below, err
	}
	made.tree, made.lifted = done.tree, done.lifted
	return made, done.on, nil
}

// someTree returns a tree as a list of sources, which is empty if it is.
func someTree(entries []*tree.Entry) [][]*tree.Entry {
	if entries == nil {
		return nil
	}
	return [][]*tree.Entry{entries}
}
