package assemble

import (
	"context"
	"errors"
	"fmt"

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
	inStore, outside := b.splitContents(g.Contents)
	copies, err := b.copies(ctx, below, field+".contents", outside, g.KeepContentsDirlinks)
	more, moreErr := b.copies(ctx, below, field+".copyToRoot", g.CopyToRoot, g.KeepContentsDirlinks)
	if err := errors.Join(err, moreErr); err != nil {
		return nil, below, err
	}
	made := &group{field: field, title: field, contents: inStore}
	if sources := append(copies, more...); len(sources) > 0 {
		if made.tree, err = b.merge(ctx, g.KeepContentsDirlinks, append([][]*tree.Entry{rootDir()}, sources...)...); err != nil {
			return nil, below, specError(field, err)
		}
	}
	if err := applyPerms(field+".perms", made.tree, g.Perms); err != nil {
		return nil, below, err
	}
	if made.tree, below, err = below.put(ctx, made.tree, conflicts(b.spec.Conflicts)); err != nil {
		return nil, below, specError(field, err)
	}
	return made, below, nil
}
