package assemble

import (
	"context"
	"slices"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// closure holds the store paths that an image needs.
type closure struct {
	// roots are the store paths the closure was computed from: those that the
	// config mentions, those that the top layer mentions, the contents, and for
	// each explicit layer the paths that it asks for.
	roots           []string
	inConfig, inTop []string
	groups          [][]string
	graph           *layering.Graph // nil if the image needs no store paths
	infos           map[string]nixstore.PathInfo
	// sizes holds the archive sizes of the paths, as far as they are known.
	sizes map[string]uint64
	// vouched says that the hashes in infos are Nix's own, or were compared with the files.
	vouched bool
}

// paths returns all store paths of the closure.
func (c *closure) paths() []string {
	if c.graph == nil {
		return nil
	}
	return c.graph.Paths()
}

// size returns the total size of some of its paths.
func (c *closure) size(paths []string) (sum uint64) {
	for _, p := range paths {
		sum += c.sizes[p]
	}
	return sum
}

// byPopularity sorts some of its paths into the order in which nixpkgs gives them
// layers of their own.
func (c *closure) byPopularity(ctx context.Context, paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	return c.graph.Subgraph(paths).Popularity(ctx)
}

// findClosure finds the store paths that the image needs: the contents (if the spec
// starts the closure from them), the groups, the paths that config and the trees
// mention, and everything these refer to.
func (b *builder) findClosure(ctx context.Context, below stack, groups []*group, top []*tree.Entry) (*closure, error) {
	c := &closure{}
	if !b.spec.IncludeStorePaths && !b.spec.IncludeNixDB {
		return c, nil
	}
	infos, candidates, err := b.candidates()
	if err != nil {
		return nil, err
	}
	candidates = slices.DeleteFunc(candidates, func(p string) bool { return slices.Contains(b.opts.Absent, p) })
	refs, err := newReferences(b.spec.StoreDir, candidates)
	if err != nil {
		return nil, err
	}
	config, err := ordjson.Marshal(b.spec.Config)
	if err != nil {
		return nil, err
	}
	if c.inTop, err = refs.inTree(ctx, top); err != nil {
		return nil, err
	}
	contents, _ := b.splitContents(b.spec.Contents)
	if b.spec.IncludeNixDB { // the roots of Nix's garbage collector are in the top layer
		c.inTop = slices.Concat(c.inTop, storePaths(contents), b.copiedFromStore())
	}
	c.inConfig = refs.inText(config)
	roots := slices.Concat(c.inConfig, c.inTop)
	if b.spec.ClosureRoots != spec.RootsImage {
		roots = append(roots, storePaths(contents)...)
	}
	for _, g := range groups {
		own, err := b.groupRoots(ctx, below, g, refs)
		if err != nil {
			return nil, err
		}
		c.groups = append(c.groups, own)
		roots = append(roots, own...)
	}
	if c.roots = sorted(roots); len(c.roots) == 0 {
		return c, nil
	}
	return c, b.fillGraph(ctx, c, infos)
}

// groupRoots returns the store paths that an explicit layer asks for: its contents,
// or the paths that the links to them mention, the paths that its files mention,
// and those it has already.
func (b *builder) groupRoots(ctx context.Context, below stack, g *group, refs *references) ([]string, error) {
	entries := g.searched()
	var roots []string
	if g.built != nil {
		roots = slices.Clone(g.built.Paths)
	}
	if b.spec.ClosureRoots != spec.RootsImage {
		roots = append(roots, storePaths(g.contents)...)
	} else {
		links, err := b.contentTrees(ctx, below, g.contents)
		if err != nil {
			return nil, err
		}
		entries = slices.Concat(append(links, entries)...)
	}
	mentioned, err := refs.inTree(ctx, entries)
	return sorted(append(roots, mentioned...)), err
}

// fillGraph fills in the graph of everything that the closure's roots refer to. If
// the spec names no file with the facts about the store paths, it looks them up.
func (b *builder) fillGraph(ctx context.Context, c *closure, infos []nixstore.PathInfo) (err error) {
	if infos == nil {
		if infos, c.vouched, err = b.lookUp(ctx, c.roots); err != nil {
			return err
		}
	}
	c.vouched = c.vouched || b.opts.VerifyStore
	graph, err := layering.NewGraph(nixstore.Nodes(infos))
	if err != nil {
		return specError("closure", err)
	}
	paths, err := graph.Closure(c.roots)
	if err != nil {
		return specError("closure", err)
	}
	c.graph = graph.Subgraph(paths)
	b.debugf("closure: %d store paths, of %d that the image mentions", len(paths), len(c.roots))
	c.infos, c.sizes = map[string]nixstore.PathInfo{}, map[string]uint64{}
	for _, info := range infos {
		c.infos[info.Path], c.sizes[info.Path] = info, info.NarSize
	}
	return nil
}

// candidates returns the store paths that can be referred to: those of the closure
// file with its facts about them, or the names in the store.
func (b *builder) candidates() (infos []nixstore.PathInfo, paths []string, err error) {
	if b.spec.Closure == "" {
		paths, err = nixstore.List(b.scanOptions(nil))
		return nil, paths, err
	}
	infos, err = nixstore.ReadClosureFile(b.spec.StoreDir, b.physical(b.spec.Closure))
	if err != nil {
		return nil, nil, specError("closure", err)
	}
	for _, info := range infos {
		paths = append(paths, info.Path)
	}
	return infos, paths, nil
}

// scanOptions says where store paths are, and which of them to look at.
func (b *builder) scanOptions(paths []string) nixstore.ScanOptions {
	return nixstore.ScanOptions{StoreDir: b.spec.StoreDir, Root: b.opts.storeRoot(), Roots: paths}
}

// copiedFromStore returns the store paths that copyToRoot copies from. As in
// dockerTools, an image with a Nix database has them as store paths too: their
// names in the database refer to them.
func (b *builder) copiedFromStore() []string {
	var paths []string
	for _, c := range b.spec.CopyToRoot {
		if p, _, ok := nixstore.InStore(b.spec.StoreDir, c.Source); ok && c.OfMachine() {
			paths = append(paths, p)
		}
	}
	return paths
}

func storePaths(contents []content) []string {
	var paths []string
	for _, c := range contents {
		paths = append(paths, c.storePath)
	}
	return paths
}

func sorted(paths []string) []string {
	slices.Sort(paths)
	return slices.Compact(paths)
}
