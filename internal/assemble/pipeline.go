package assemble

import (
	"fmt"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// readPipeline reads the spec's layeringPipeline.
func (b *builder) readPipeline() error {
	p := b.spec.LayeringPipeline
	if p == nil {
		return nil
	}
	var operations any = p.Operations
	name := "layeringPipeline"
	if p.File != "" {
		var err error
		if operations, err = readJSON(b.physical(p.File)); err != nil {
			return err
		}
		name = fmt.Sprintf("%q", p.File)
	}
	var err error
	b.pipeline, err = layering.ParsePipeline(name, operations)
	return err
}

// readJSON reads a JSON file that may be as large as a spec.
func readJSON(name string) (any, error) {
	data, err := regfile.Read(name, spec.MaxSize)
	if regfile.IsTooLarge(err) {
		return nil, fmt.Errorf("%q: larger than %d MiB: that is no pipeline", name, spec.MaxSize>>20)
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

// applyPipeline divides paths as the spec's pipeline says. It counts its layers
// by itself, so that maxLayers does not apply, but engines have a limit too.
func (b *builder) applyPipeline(paths []string, other int) ([][]string, error) {
	var layers [][]string
	if len(paths) > 0 {
		var removed []string
		var err error
		if layers, removed, err = b.pipeline.Apply(b.ctx, b.closure.Subgraph(paths)); err != nil {
			return nil, specError("layeringPipeline", err)
		}
		b.removed = map[string]bool{}
		for _, p := range removed {
			b.removed[p] = true
		}
	}
	if all := len(layers) + other + b.baseLayers(); all > spec.MaxLayers {
		return nil, &SpecError{"layeringPipeline", fmt.Errorf("it makes %d layers of the store paths, and the image has %d others; "+
			"engines stop at %d: end it with [\"flatten\"], [\"limit_layers\", COUNT]", len(layers), all-len(layers), spec.MaxLayers)}
	}
	return layers, nil
}
