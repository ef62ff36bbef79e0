package assemble

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// placer divides an image's content among its layers. It only reads what earlier
// phases found.
type placer struct {
	*builder
	base *base
	// needed are the store paths that have to be in a layer, unless pipeline, the
	// spec's layeringPipeline, removes them; pipeline is nil for none.
	needed   *closure
	pipeline *layering.Pipeline
	// plan holds the store paths of the layers that are to stay together.
	plan [][]string
	// passed is shared by all store layers.
	passed *layer.Passed
}

// placed is a layer that goes on top of the base's layers.
type placed struct {
	layer   image.Layer
	comment string
	plan    PlannedLayer
}

// place makes the layers: first the store paths that no group takes, then the
// groups, then the top layer.
func (p placer) place(ctx context.Context, groups []*group, top []*tree.Entry) ([]placed, error) {
	if p.spec.Layering == spec.Single {
		return p.placeSingle(ctx, top)
	}
	grouped, rest, err := p.takeGroups(ctx, groups)
	if err != nil {
		return nil, err
	}
	other := 0
	for i, g := range groups {
		if !g.empty(grouped[i]) {
			other++
		}
	}
	if len(p.needed.paths()) > 0 {
		if top, err = p.restateStore(ctx, p.base, top); err != nil {
			return nil, err
		}
	}
	withTop := p.needsTop(top)
	if withTop {
		other++
	}
	spread, removed, err := p.spread(ctx, rest, other, top)
	if err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(p.needed.paths(), func(path string) bool { return removed[path] })
	if err := layering.CheckPartition(kept, slices.Concat(spread, grouped)); err != nil {
		return nil, err
	}
	var layers []placed
	for _, paths := range spread {
		layers = append(layers, p.storeLayer(paths))
	}
	for i, g := range groups {
		if g.empty(grouped[i]) {
			continue
		}
		l, err := p.groupLayer(ctx, g, grouped[i])
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	if !withTop {
		return layers, nil
	}
	last, err := p.treeLayer(ctx, topTitle, top, nil)
	return append(layers, last), err
}

// needsTop reports whether there is a top layer. On a base, one that shows nothing new is left out;
// version 1 of the format, and nixpkgs, have it all the same.
func (p placer) needsTop(top []*tree.Entry) bool {
	return p.spec.LayerFormat == 1 || p.base.layers() == 0 || slices.ContainsFunc(top, func(e *tree.Entry) bool {
		return !e.Implied || e.Path != "." && p.base.find(e.Path) == nil
	})
}

// placeSingle puts everything into one layer.
func (p placer) placeSingle(ctx context.Context, top []*tree.Entry) ([]placed, error) {
	paths, err := p.needed.byPopularity(ctx, p.needed.paths())
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 && !p.needsTop(top) {
		return nil, nil
	}
	l, err := p.treeLayer(ctx, "single layer", top, paths)
	return []placed{l}, err
}

// takeGroups gives each group the paths of its closure that no group before it has,
// and returns the remaining paths.
func (p placer) takeGroups(ctx context.Context, groups []*group) (grouped [][]string, rest []string, err error) {
	taken := map[string]bool{}
	for i, g := range groups {
		own, err := p.takeGroup(ctx, i, g, taken)
		if err != nil {
			return nil, nil, err
		}
		for _, path := range own {
			taken[path] = true
		}
		grouped = append(grouped, own)
	}
	for _, path := range p.needed.paths() {
		if !taken[path] {
			rest = append(rest, path)
		}
	}
	return grouped, rest, nil
}

// takeGroup returns the paths that group i gets.
func (p placer) takeGroup(ctx context.Context, i int, g *group, taken map[string]bool) ([]string, error) {
	if g.built != nil {
		own, err := g.built.builtPaths(taken)
		if err != nil {
			return nil, &SpecError{g.field, err}
		}
		return own, nil
	}
	if p.needed.graph == nil {
		return nil, nil
	}
	own, err := p.needed.graph.Closure(p.needed.groups[i])
	if err != nil {
		return nil, err
	}
	own = slices.DeleteFunc(own, func(path string) bool { return taken[path] })
	return p.needed.byPopularity(ctx, own)
}

// spread spreads paths over the layers that the base and the other layers leave;
// top is the tree of the top layer. removed are the paths that no layer is to have.
func (p placer) spread(ctx context.Context, paths []string, other int, top []*tree.Entry) (layers [][]string, removed map[string]bool, err error) {
	if p.pipeline != nil {
		return p.applyPipeline(ctx, paths, other)
	}
	if len(paths) == 0 {
		if all := other + p.base.layers(); all > p.spec.MaxLayers {
			return nil, nil, &SpecError{"maxLayers", fmt.Errorf("the image has %d layers, and maxLayers allows %d", all, p.spec.MaxLayers)}
		}
		return nil, nil, nil
	}
	n, err := layering.Available(p.spec.MaxLayers, p.base.layers(), other)
	if err != nil {
		return nil, nil, &SpecError{"maxLayers", fmt.Errorf("maxLayers is %d, the base image has %d and the top layer and explicit layers are %d, "+
			"which leaves none for store paths: set maxLayers to at least %d, or give fewer explicit layers",
			p.spec.MaxLayers, p.base.layers(), other, p.base.layers()+other+1)}
	}
	switch p.spec.Layering {
	case spec.Auto:
		layers, err = p.autoLayers(ctx, paths, n, top)
		return layers, nil, err
	case spec.Stable:
		layers, err = p.stableLayers(ctx, paths, n)
		return layers, nil, err
	}
	order, err := p.needed.byPopularity(ctx, paths)
	if err != nil {
		return nil, nil, err
	}
	return layering.Limit(order, n), nil, nil
}

// groupLayer returns the layer of a group, with the paths that it gets.
func (p placer) groupLayer(ctx context.Context, g *group, paths []string) (placed, error) {
	switch {
	case g.built != nil:
		return p.builtLayer(g.built), nil
	case g.tree == nil:
		return p.storeLayer(paths), nil
	}
	return p.treeLayer(ctx, g.title, g.tree, paths)
}

// storeLayer returns the layer of store paths that nixpkgs would make.
func (p placer) storeLayer(paths []string) placed {
	s := p.spec
	opts := layer.StoreOptions{
		UID: s.UID, GID: s.GID, Uname: s.Uname, Gname: s.Gname, ModTime: s.MTime, Root: p.opts.storeRoot(),
		Passed: p.passed, Memo: p.opts.Memo.ForLayers(), NarHashes: p.narHashes,
	}
	if p.needed.vouched {
		opts.Pushed = p.opts.Pushed
	}
	l := layer.Store(paths, opts)
	return placed{l, image.StorePathsComment(paths), PlannedLayer{Kind: KindStore, Paths: paths, Size: p.needed.size(paths)}}
}

// narHashes returns the hashes of store paths' archives, in their order. Those that nobody has
// recorded are computed; then read is true.
func (p placer) narHashes(ctx context.Context, paths []string) (hashes []digest.Digest, read bool, err error) {
	known := map[string]digest.Digest{}
	var unknown []string
	for _, path := range paths {
		if known[path] = p.needed.infos[path].NarHash; known[path] == "" {
			unknown = append(unknown, path)
		}
	}
	if len(unknown) > 0 {
		hashed, err := nixstore.HashPaths(ctx, p.scanOptions(unknown))
		if err != nil {
			return nil, false, err
		}
		for _, info := range hashed {
			known[info.Path] = info.NarHash
		}
	}
	hashes = make([]digest.Digest, len(paths))
	for i, path := range paths {
		hashes[i] = known[path]
	}
	return hashes, len(unknown) > 0, nil
}

// builtLayer returns a layer that was built by itself.
func (p placer) builtLayer(l *BuiltLayer) placed {
	comment, kind := image.StorePathsComment(l.Paths), KindStore
	if l.Tree {
		comment, kind = path.Base(l.dir), KindTree
	}
	return placed{l.file, comment, PlannedLayer{Kind: kind, Paths: l.Paths, Size: p.needed.size(l.Paths), Built: l.dir}}
}

// treeLayer returns the layer of a tree with store paths in it.
func (p placer) treeLayer(ctx context.Context, title string, entries []*tree.Entry, paths []string) (placed, error) {
	plan := PlannedLayer{Kind: KindTree, Paths: paths, Files: len(entries), Size: p.needed.size(paths)}
	for _, e := range entries {
		plan.Size += uint64(e.Size)
	}
	if len(p.needed.paths()) > 0 {
		p.asStoreLayers(p.base, entries)
	}
	sources := [][]*tree.Entry{entries}
	for _, path := range paths {
		files, err := p.storeFiles(ctx, path)
		if err != nil {
			return placed{}, err
		}
		sources = append(sources, files)
	}
	if len(paths) > 0 {
		var err error
		if entries, err = p.merge(ctx, false, sources...); err != nil {
			return placed{}, specError("conflicts", err)
		}
	}
	return placed{p.pack(title, entries), title, plan}, nil
}

// storeFiles returns a store path's files at their place in the image, without
// those that the base has already at the same path. The directories above them are
// as the base has them.
func (p placer) storeFiles(ctx context.Context, storePath string) ([]*tree.Entry, error) {
	files, err := tree.Collect(tree.FromDir(p.opts.storeRoot()+storePath, tree.DirOptions{Store: true}))
	if err != nil {
		return nil, err
	}
	if files, err = tree.Place(files, storePath); err != nil || p.base == nil {
		return files, err
	}
	files = slices.DeleteFunc(files, func(e *tree.Entry) bool { return p.base.find(e.Path) != nil })
	if files, err = tree.Place(files, "/"); err != nil {
		return nil, err
	}
	return tree.Through(ctx, p.base.entries, files, conflicts(p.spec.Conflicts))
}

// pack describes the layer of a tree as GNU tar writes it.
func (b *builder) pack(title string, entries []*tree.Entry) *layer.Layer {
	for _, e := range entries {
		e.ModTime = b.spec.TreeMTime
	}
	return layer.New(func() tree.Seq { return tree.All(entries) }, layer.Options{
		Dialect: layer.GNU, Prefix: "./", Title: title, Memo: b.opts.Memo.ForLayers(),
		HardLinks: b.spec.LayerFormat >= 2,
	})
}
