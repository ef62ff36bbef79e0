package assemble

import (
	"context"
	"fmt"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// readPipeline reads the spec's layeringPipeline; nil for none.
func (b *builder) readPipeline() (*layering.Pipeline, error) {
	p := b.spec.LayeringPipeline
	if p == nil {
		return nil, nil
	}
	var operations any = p.Operations
	name := "layeringPipeline"
	if p.File != "" {
		var err error
		if operations, err = readJSON(b.physical(p.File)); err != nil {
			return nil, specError("layeringPipeline", err)
		}
		name = fmt.Sprintf("%q", p.File)
	}
	pipeline, err := layering.ParsePipeline(name, operations)
	return pipeline, specError("layeringPipeline", err)
}

// readJSON reads a JSON file that may be as large as a spec.
func readJSON(name string) (any, error) {
	data, err := regfile.Read(name, spec.MaxSize)
	if regfile.IsTooLarge(err) {
		return nil, fmt.Errorf("%q: larger than %d MiB: that is not a pipeline", name, spec.MaxSize>>20)
	}
	if err != nil {
		return nil, quotePath(err)
	}
	v, err := ordjson.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%q: read JSON: %w", name, err)
	}
	return v, nil
}

// applyPipeline divides paths as the spec's pipeline says. The pipeline decides the
// number of layers, so maxLayers does not apply, but engines have a limit too.
func (p placer) applyPipeline(ctx context.Context, paths []string, other int) (layers [][]string, removed map[string]bool, err error) {
	removed = map[string]bool{}
	if len(paths) > 0 {
		var out []string
		if layers, out, err = p.pipeline.Apply(ctx, p.needed.graph.Subgraph(paths)); err != nil {
			return nil, nil, specError("layeringPipeline", err)
		}
		for _, path := range out {
			removed[path] = true
		}
	}
	if all := len(layers) + other + p.base.layers(); all > spec.MaxLayers {
		return nil, nil, &SpecError{"layeringPipeline", fmt.Errorf("it makes %d layers of the store paths, and the image has %d others; "+
			"engines stop at %d: end it with [\"flatten\"], [\"limit_layers\", COUNT]", len(layers), all-len(layers), spec.MaxLayers)}
	}
	return layers, removed, nil
}
