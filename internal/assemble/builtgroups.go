package assemble

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// builtGroups makes groups of a built layer and of those below it. An image gets
// each of them once, below the first layer that was built on it. They come after
// groups, which the image has already.
func (b *builder) builtGroups(ctx context.Context, below stack, groups []*group, field, dir string) ([]*group, stack, error) {
	l, err := openBuilt(b.spec.StoreDir, dir, b.physical(dir))
	if err != nil {
		return nil, below, err
	}
	if slices.ContainsFunc(groups, func(g *group) bool { return g.implied && g.is(l) }) {
		return nil, below, nil // another layer has brought it
	}
	var made []*group
	add := func(l *BuiltLayer, implied bool) error {
		g, on, err := b.builtGroup(ctx, below, field, l)
		if err != nil {
			return err
		}
		g.implied = implied
		made, below = append(made, g), on
		return nil
	}
	for _, lower := range l.Lower {
		other, err := b.openLower(l, lower)
		if err != nil {
			return nil, below, err
		}
		if slices.ContainsFunc(slices.Concat(groups, made), func(g *group) bool { return g.is(other) }) {
			continue
		}
		if err := add(other, true); err != nil {
			return nil, below, err
		}
	}
	return made, below, add(l, false)
}

// is reports whether the group is the built layer l.
func (g *group) is(l *BuiltLayer) bool { return g.built != nil && g.built.physical == l.physical }

// openLower opens a layer that another one was built on.
func (b *builder) openLower(l *BuiltLayer, lower LowerLayer) (*BuiltLayer, error) {
	physical := filepath.Join(l.physical, filepath.FromSlash(lower.Dir))
	opened, err := openBuilt(b.spec.StoreDir, strings.TrimPrefix(physical, b.rootOf(l.dir)), physical)
	if err != nil {
		return nil, fmt.Errorf("%q was built on another layer, which has to be where it was: %w", l.dir, err)
	}
	if got := opened.file.DiffID; got.Encoded() != lower.Checksum {
		return nil, fmt.Errorf("build %q again, which was built on another layer than there is now: %w", l.dir,
			&layer.DigestError{What: strconv.Quote(opened.dir), Want: digest.NewDigestFromEncoded(digest.SHA256, lower.Checksum), Got: got})
	}
	return opened, nil
}

// builtGroup makes a group of a built layer and puts its files on the layers below,
// so that later trees meet it like any other explicit layer.
func (b *builder) builtGroup(ctx context.Context, below stack, field string, l *BuiltLayer) (*group, stack, error) {
	g := &group{field: field, title: l.dir, built: l}
	g.contents, _ = b.splitContents(l.Contents)
	if !l.Tree {
		return g, below, nil
	}
	overlay, err := tree.OpenOverlay(ctx, []tree.LayerSource{l.file}, tree.OverlayOptions{TempDir: b.opts.TempDir, Exact: true})
	if err != nil {
		return nil, below, err
	}
	b.closers = append(b.closers, overlay)
	store := strings.TrimPrefix(b.spec.StoreDir, "/") + "/"
	var entries []*tree.Entry
	for _, e := range overlay.Entries {
		if !strings.HasPrefix(e.Path, store) {
			entries = append(entries, e)
		}
	}
	_, below, err = below.put(ctx, entries, conflicts(b.spec.Conflicts))
	return g, below, err
}

// builtPaths returns the paths in a built layer; one that another layer has is an error.
func (l *BuiltLayer) builtPaths(taken map[string]bool) ([]string, error) {
	for _, p := range l.Paths {
		if taken[p] {
			return nil, fmt.Errorf("the layer %q has the store path %q, which a layer below has too: build it with that one among its layers", l.dir, p)
		}
	}
	return l.Paths, nil
}
