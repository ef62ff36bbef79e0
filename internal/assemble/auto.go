package assemble

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nar"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// topTitle names the top layer in messages and in the graph that contains it.
const topTitle = "top layer"

// configTitle names the config in that graph.
const configTitle = "config"

// autoLayers divides paths into at most n layers as nixpkgs does by default.
func (p placer) autoLayers(ctx context.Context, paths []string, n int, top []*tree.Entry) ([][]string, error) {
	nodes := p.needed.graph.Subgraph(paths).Nodes()
	if err := p.measure(ctx, nodes); err != nil {
		return nil, err
	}
	if p.spec.ClosureRoots == spec.RootsImage {
		above, err := p.imageNodes(ctx, paths, top)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, above...)
	}
	g, err := layering.NewGraph(nodes)
	if err != nil {
		return nil, err
	}
	return g.Auto(ctx, n, configTitle, topTitle)
}

// measure fills in the sizes that the closure's source does not know.
func (p placer) measure(ctx context.Context, nodes []layering.Node) error {
	var unknown []string
	for _, n := range nodes {
		if n.NarSize == 0 {
			unknown = append(unknown, n.Path)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	hashed, err := nixstore.HashPaths(ctx, p.scanOptions(unknown))
	if err != nil {
		return specError("layering", err)
	}
	for _, h := range hashed {
		p.needed.sizes[h.Path] = h.NarSize
	}
	for i := range nodes {
		nodes[i].NarSize = p.needed.sizes[nodes[i].Path]
	}
	return nil
}

// imageNodes returns the nodes above the store paths in nixpkgs' graph: the config
// and the top layer, under the store paths they have there, each with the paths
// that it mentions.
func (p placer) imageNodes(ctx context.Context, paths []string, top []*tree.Entry) ([]layering.Node, error) {
	config, err := p.configSize()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	topSize, err := p.pack(topTitle, top).Size(ctx)
	if err != nil {
		return nil, err
	}
	inGraph := map[string]bool{}
	for _, path := range paths {
		inGraph[path] = true
	}
	within := func(mentioned []string) []string {
		return slices.DeleteFunc(slices.Clone(mentioned), func(path string) bool { return !inGraph[path] })
	}
	return []layering.Node{
		{Path: configTitle, NarSize: config, References: within(p.needed.inConfig)},
		{Path: topTitle, NarSize: layerDirSize(topSize), References: within(p.needed.inTop)},
	}, nil
}

// configSize returns the archive size of the file in which nixpkgs stores the config.
func (b *builder) configSize() (uint64, error) {
	text, err := ordjson.MarshalCompact(&ordjson.Object{Members: []ordjson.Member{
		{Key: "architecture", Value: cmp.Or(b.spec.Architecture, b.opts.Architecture)},
		{Key: "config", Value: b.spec.Config},
		{Key: "os", Value: b.spec.OS},
	}})
	if err != nil {
		return 0, err
	}
	w := nar.NewWriter(io.Discard)
	w.Begin()
	return writeHollow(w, uint64(len(text))) + w.Size(), nil
}

// layerDirSize returns the archive size of the directory in which nixpkgs stores a
// layer: the tar, and its checksum with a newline.
func layerDirSize(tar int64) uint64 {
	w := nar.NewWriter(io.Discard)
	w.Begin()
	w.Directory()
	w.Entry(LayerChecksum)
	content := writeHollow(w, uint64(hex.EncodedLen(sha256.Size))+1)
	w.EndEntry()
	w.Entry(LayerTar)
	content += writeHollow(w, uint64(tar))
	w.EndEntry()
	w.EndDirectory()
	return content + w.Size()
}

// writeHollow writes a regular file without its content and returns its size.
func writeHollow(w *nar.Writer, size uint64) uint64 {
	w.Regular(size, false)
	w.EndRegular(size)
	return size
}
