package assemble

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// group is an explicit layer of the spec.
type group struct {
	// field is the spec's field that asks for it.
	field, title string

	contents []content
	// tree is what is copied into the layer; nil where nothing is.
	tree []*tree.Entry
	// roots are the store paths that the layer asks for.
	roots []string
	// built is a layer that is there already; nil for others.
	built *BuiltLayer
}

// empty tells a layer that has nothing in it, since layers before it have the
// store paths that it asks for.
func (g *group) empty(paths []string) bool {
	return g.tree == nil && len(paths) == 0 && (g.built == nil || !g.built.Tree)
}

// groups reads the explicit layers.
func (b *builder) groups() ([]*group, error) {
	if b.spec.Layering == spec.Single && len(b.spec.Layers) > 0 {
		return nil, &SpecError{"layers", errors.New("an image with layering: single has no other layers")}
	}
	var groups []*group
	for i, g := range b.spec.Layers {
		field := fmt.Sprintf("layers[%d]", i)
		if g.Built != "" {
			made, err := b.builtGroups(field, g.Built)
			if err != nil {
				return nil, specError(field+".built", err)
			}
			groups = append(groups, made...)
			continue
		}
		inStore, outside := b.splitContents(g.Contents)
		copies, err := b.copies(field+".contents", outside, g.KeepContentsDirlinks)
		more, moreErr := b.copies(field+".copyToRoot", g.CopyToRoot, g.KeepContentsDirlinks)
		if err := errors.Join(err, moreErr); err != nil {
			return nil, err
		}
		made := &group{field: field, title: field, contents: inStore}
		if sources := append(copies, more...); len(sources) > 0 {
			if made.tree, err = b.merge(g.KeepContentsDirlinks, append([][]*tree.Entry{rootDir()}, sources...)...); err != nil {
				return nil, specError(field, err)
			}
		}
		if err := applyPerms(made.tree, g.Perms); err != nil {
			return nil, specError(field+".perms", err)
		}
		if made.tree, err = b.onto(made.tree, conflicts(b.spec.Conflicts)); err != nil {
			return nil, specError(field, err)
		}
		groups = append(groups, made)
	}
	return groups, nil
}

// place makes the layers: those of the store paths that no group takes, the
// groups, the top layer.
func (b *builder) place(groups []*group, top []*tree.Entry) error {
	if b.spec.Layering == spec.Single {
		return b.placeSingle(top)
	}
	grouped, rest, err := b.takeGroups(groups)
	if err != nil {
		return err
	}
	other := 1 // the top layer
	for i, g := range groups {
		if !g.empty(grouped[i]) {
			other++
		}
	}
	if len(b.closurePaths()) > 0 {
		if top, err = b.restateStore(top); err != nil {
			return err
		}
	}
	layers, err := b.spread(rest, other, top)
	if err != nil {
		return err
	}
	if err := layering.CheckPartition(b.kept(), slices.Concat(layers, grouped)); err != nil {
		return err
	}
	for _, paths := range layers {
		b.addStore(paths)
	}
	for i, g := range groups {
		if g.empty(grouped[i]) {
			continue
		}
		if g.built != nil {
			b.addBuilt(g.built)
		} else if g.tree == nil {
			b.addStore(grouped[i])
		} else if err := b.addTree(g.title, g.tree, grouped[i]); err != nil {
			return err
		}
	}
	return b.addTree(topTitle, top, nil)
}

func (b *builder) closurePaths() []string {
	if b.closure == nil {
		return nil
	}
	return b.closure.Paths()
}

// kept are the paths that have to be in a layer.
func (b *builder) kept() []string {
	return slices.DeleteFunc(b.closurePaths(), func(p string) bool { return b.removed[p] })
}

// takeGroups gives each group the paths of its closure that no group before it
// has, and returns what is left besides.
func (b *builder) takeGroups(groups []*group) (grouped [][]string, rest []string, err error) {
	taken := map[string]bool{}
	for _, g := range groups {
		var own []string
		if g.built != nil {
			if own, err = g.built.builtPaths(taken); err != nil {
				return nil, nil, &SpecError{g.field, err}
			}
		} else if b.closure != nil {
			all, err := b.closure.Closure(g.roots)
			if err != nil {
				return nil, nil, err
			}
			own = slices.DeleteFunc(all, func(p string) bool { return taken[p] })
		}
		for _, p := range own {
			taken[p] = true
		}
		if g.built == nil {
			if own, err = b.byPopularity(own); err != nil {
				return nil, nil, err
			}
		}
		grouped = append(grouped, own)
	}
	for _, p := range b.closurePaths() {
		if !taken[p] {
			rest = append(rest, p)
		}
	}
	return grouped, rest, nil
}

func (b *builder) byPopularity(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	return b.closure.Subgraph(paths).Popularity(b.ctx)
}

// spread spreads paths over the layers that other ones leave; top is the top
// layer's tree.
func (b *builder) spread(paths []string, other int, top []*tree.Entry) ([][]string, error) {
	if b.pipeline != nil {
		return b.applyPipeline(paths, other)
	}
	if len(paths) == 0 {
		if all := other + b.baseLayers(); all > b.spec.MaxLayers {
			return nil, &SpecError{"maxLayers", fmt.Errorf("the image has %d layers, and maxLayers allows %d", all, b.spec.MaxLayers)}
		}
		return nil, nil
	}
	n, err := layering.Available(b.spec.MaxLayers, b.baseLayers(), other)
	if err != nil {
		return nil, &SpecError{"maxLayers", err}
	}
	if b.spec.Layering == spec.Auto {
		return b.autoLayers(paths, n, top)
	}
	order, err := b.byPopularity(paths)
	if err != nil {
		return nil, err
	}
	return layering.Limit(order, n), nil
}

// placeSingle puts everything into one layer.
func (b *builder) placeSingle(top []*tree.Entry) error {
	paths, err := b.byPopularity(b.closurePaths())
	if err != nil {
		return err
	}
	return b.addTree("single layer", top, paths)
}

// addStore adds the layer of store paths that nixpkgs would make.
func (b *builder) addStore(paths []string) {
	s := b.spec
	b.add(layer.Store(paths, layer.StoreOptions{
		UID: s.UID, GID: s.GID, Uname: s.Uname, Gname: s.Gname, ModTime: s.MTime, Root: b.opts.storeRoot(),
	}), image.StorePathsComment(paths), PlannedLayer{Kind: KindStore, Paths: paths, Size: b.size(paths)})
}

// addBuilt adds a layer that is there already.
func (b *builder) addBuilt(l *BuiltLayer) {
	comment, kind := image.StorePathsComment(l.Paths), KindStore
	if l.Tree {
		comment, kind = path.Base(l.dir), KindTree
	}
	b.add(l.file, comment, PlannedLayer{Kind: kind, Paths: l.Paths, Size: b.size(l.Paths), Built: l.dir})
}

// addTree adds a layer of a tree with store paths in it.
func (b *builder) addTree(title string, entries []*tree.Entry, paths []string) error {
	plan := PlannedLayer{Kind: KindTree, Paths: paths, Files: len(entries), Size: b.size(paths)}
	for _, e := range entries {
		plan.Size += uint64(e.Size)
	}
	if len(b.closurePaths()) > 0 {
		b.asStoreLayers(entries)
	}
	sources := [][]*tree.Entry{entries}
	for _, p := range paths {
		files, err := tree.Collect(tree.FromDir(b.opts.storeRoot()+p, tree.DirOptions{Store: true}))
		if err != nil {
			return err
		}
		if files, err = tree.Place(files, p); err != nil {
			return err
		}
		if files, err = b.notInBase(files); err != nil {
			return err
		}
		sources = append(sources, files)
	}
	if len(paths) > 0 {
		var err error
		if entries, err = b.merge(false, sources...); err != nil {
			return specError("conflicts", err)
		}
	}
	b.add(b.treeLayer(title, entries), title, plan)
	return nil
}

// notInBase leaves out what the base has already, by its path. The directories
// that lead to the rest are as the base has them.
func (b *builder) notInBase(files []*tree.Entry) ([]*tree.Entry, error) {
	if b.base == nil {
		return files, nil
	}
	files = slices.DeleteFunc(files, func(e *tree.Entry) bool { return tree.Find(b.base.entries, e.Path) != nil })
	files, err := tree.Place(files, "/")
	if err != nil {
		return nil, err
	}
	return tree.Through(b.ctx, b.base.entries, files, conflicts(b.spec.Conflicts))
}

func (b *builder) size(paths []string) (sum uint64) {
	for _, p := range paths {
		sum += b.sizes[p]
	}
	return sum
}

func (b *builder) add(l image.Layer, comment string, plan PlannedLayer) {
	if plan.Paths == nil {
		plan.Paths = []string{} // a list in JSON too
	}
	b.debugf("layer %d: %s, %d store paths, %d other files, %d bytes", len(b.result.Layers)+1, comment, len(plan.Paths), plan.Files, plan.Size)
	b.layers = append(b.layers, l)
	b.history = append(b.history, image.History{Created: b.created(), CreatedBy: "varve", Comment: comment})
	b.result.Layers = append(b.result.Layers, plan)
}
