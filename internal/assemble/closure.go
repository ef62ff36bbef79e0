package assemble

import (
	"context"
	"io"
	"slices"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// references finds the store paths that texts and trees mention.
type references struct {
	// byHash are the paths that can be found, by the hash part of their names.
	byHash map[string][]string
	hashes []string
}

func newReferences(storeDir string, candidates []string) (*references, error) {
	r := &references{byHash: map[string][]string{}}
	for _, p := range candidates {
		parsed, err := nixstore.ParsePath(storeDir, p)
		if err != nil {
			return nil, err
		}
		if r.byHash[parsed.Hash] == nil {
			r.hashes = append(r.hashes, parsed.Hash)
		}
		r.byHash[parsed.Hash] = append(r.byHash[parsed.Hash], p)
	}
	return r, nil
}

// paths returns what a scanner found.
func (r *references) paths(s *nixstore.Scanner) []string {
	var found []string
	for _, hash := range s.Found() {
		found = append(found, r.byHash[hash]...)
	}
	return found
}

// inText finds the paths that a text mentions.
func (r *references) inText(text []byte) []string {
	s := nixstore.NewScanner(r.hashes)
	_, _ = s.Write(text) // it never fails
	return r.paths(s)
}

// inTree finds the paths that a tree mentions: in names, in the text of
// symlinks, and in the content of files.
func (r *references) inTree(ctx context.Context, entries []*tree.Entry) ([]string, error) {
	if len(r.hashes) == 0 {
		return nil, nil
	}
	s := nixstore.NewScanner(r.hashes)
	buf := make([]byte, 1<<20)
	for _, e := range entries {
		for _, text := range []string{e.Path, e.Linkname} {
			_, _ = io.WriteString(s, text) // a Scanner never fails
			s.Next()
		}
		if e.Type != tree.Regular || e.Open == nil {
			continue
		}
		if err := scanFile(ctx, s, e, buf); err != nil {
			return nil, err
		}
	}
	return r.paths(s), nil
}

func scanFile(ctx context.Context, s *nixstore.Scanner, e *tree.Entry, buf []byte) error {
	f, err := e.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	defer s.Next()
	_, err = io.CopyBuffer(s, ctxio.Reader(ctx, f), buf)
	return err
}

// findClosure fills in which store paths the image needs: those of contents,
// where the spec has the closure begin at them, and the groups, those that
// config and the trees mention, and all that they refer to.
func (b *builder) findClosure(contents []content, groups []*group, top []*tree.Entry) error {
	if !b.spec.IncludeStorePaths && !b.spec.IncludeNixDB {
		return nil
	}
	nodes, candidates, err := b.candidates()
	if err != nil {
		return err
	}
	candidates = slices.DeleteFunc(candidates, func(p string) bool { return slices.Contains(b.opts.Absent, p) })
	refs, err := newReferences(b.spec.StoreDir, candidates)
	if err != nil {
		return err
	}
	config, err := ordjson.Marshal(b.spec.Config)
	if err != nil {
		return err
	}
	inTop, err := refs.inTree(b.ctx, b.withoutDatabase(top))
	if err != nil {
		return err
	}
	if b.spec.IncludeNixDB { // the roots of Nix's garbage collector are in the top layer
		inTop = slices.Concat(inTop, storePaths(contents), b.copiedFromStore())
	}
	b.mentioned.config, b.mentioned.top = refs.inText(config), inTop
	roots := slices.Concat(b.mentioned.config, inTop)
	if b.spec.ClosureRoots != spec.RootsImage {
		roots = append(roots, storePaths(contents)...)
	}
	for _, g := range groups {
		if g.roots, err = b.groupRoots(g, refs); err != nil {
			return err
		}
		roots = append(roots, g.roots...)
	}
	b.roots, b.closure = sorted(roots), nil
	if len(b.roots) == 0 {
		return nil
	}
	return b.openGraph(nodes)
}

// groupRoots are the store paths that an explicit layer asks for: its contents, or
// what the links to them mention, what its files mention, and what it has already.
func (b *builder) groupRoots(g *group, refs *references) ([]string, error) {
	entries := g.tree
	var roots []string
	if g.built != nil {
		roots = slices.Clone(g.built.Paths)
	}
	if b.spec.ClosureRoots != spec.RootsImage {
		roots = append(roots, storePaths(g.contents)...)
	} else {
		links, err := b.contentTrees(g.contents)
		if err != nil {
			return nil, err
		}
		entries = slices.Concat(append(links, entries)...)
	}
	mentioned, err := refs.inTree(b.ctx, entries)
	return sorted(append(roots, mentioned...)), err
}

// openGraph makes the graph of the closure of the roots.
func (b *builder) openGraph(nodes []nixstore.PathInfo) (err error) {
	if nodes == nil {
		if nodes, err = b.lookUp(); err != nil {
			return err
		}
	}
	field := "closure"
	graph, err := layering.NewGraph(nixstore.Nodes(nodes))
	if err != nil {
		return specError(field, err)
	}
	paths, err := graph.Closure(b.roots)
	if err != nil {
		return specError(field, err)
	}
	b.closure = graph.Subgraph(paths)
	b.debugf("closure: %d store paths, of %d that the image mentions", len(paths), len(b.roots))
	b.infos, b.sizes = map[string]nixstore.PathInfo{}, map[string]uint64{}
	for _, n := range nodes {
		b.infos[n.Path], b.sizes[n.Path] = n, n.NarSize
	}
	return nil
}

// candidates are the store paths that can be referred to: those of the closure
// file with their references, or the names in the store.
func (b *builder) candidates() (nodes []nixstore.PathInfo, paths []string, err error) {
	if b.spec.Closure == "" {
		paths, err = nixstore.List(nixstore.ScanOptions{StoreDir: b.spec.StoreDir, Root: b.opts.storeRoot()})
		return nil, paths, err
	}
	nodes, err = nixstore.ReadClosureFile(b.spec.StoreDir, b.physical(b.spec.Closure))
	if err != nil {
		return nil, nil, specError("closure", err)
	}
	for _, n := range nodes {
		paths = append(paths, n.Path)
	}
	return nodes, paths, nil
}

func logicalPaths(contents []content) []string {
	paths := []string{}
	for _, c := range contents {
		paths = append(paths, c.path)
	}
	return paths
}

// copiedFromStore are the store paths that copyToRoot copies from and that an
// image with a Nix database has for themselves, as in dockerTools: their names
// in the database refer to them.
func (b *builder) copiedFromStore() []string {
	var paths []string
	for _, c := range b.spec.CopyToRoot {
		if p, _, ok := nixstore.InStore(b.spec.StoreDir, c.Source); ok {
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
