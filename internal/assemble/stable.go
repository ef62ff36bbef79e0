package assemble

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/spec"
)

// OpenPlanFunc returns the store paths of each layer of the plan that a spec names. Its errors say
// whether the spec or the plan is at fault.
type OpenPlanFunc func(ctx context.Context, ref spec.Base) ([][]string, error)

// openPlan reads the plan of the spec; nil for none.
func (b *builder) openPlan(ctx context.Context) ([][]string, error) {
	ref, ok := b.spec.Plan()
	if !ok {
		return nil, nil
	}
	if b.opts.OpenPlan == nil {
		return nil, &SpecError{"previous", errors.New("plans are not read here")}
	}
	layers, err := b.opts.OpenPlan(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("previous: %w", err)
	}
	layers = slices.DeleteFunc(slices.Clone(layers), func(paths []string) bool { return len(paths) == 0 })
	b.debugf("previous: %q: layers of store paths: %d", ref.Reference, len(layers))
	return layers, nil
}

// stableLayers divides paths into at most n layers so that little is sent again when some of them
// change.
func (p placer) stableLayers(ctx context.Context, paths []string, n int) ([][]string, error) {
	if err := p.measure(ctx, p.needed.graph.Subgraph(paths).Nodes()); err != nil {
		return nil, err
	}
	// What the explicit layers have changes these paths too.
	nodes := p.needed.graph.Nodes()
	for i := range nodes {
		nodes[i].NarSize = p.needed.sizes[nodes[i].Path]
	}
	g, err := layering.NewGraph(nodes)
	if err != nil {
		return nil, err
	}
	return g.Stable(ctx, paths, n, p.plan)
}
