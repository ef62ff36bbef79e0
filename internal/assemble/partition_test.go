package assemble

import (
	"context"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/spec"
)

// meddler is a context that changes the closure of an image when its Err is called,
// which happens while the paths are being ordered.
type meddler struct {
	context.Context
	closure *closure
	graph   *layering.Graph
}

func (m meddler) Err() error {
	m.closure.graph = m.graph
	return nil
}

// TestPartitionIsChecked: an image in which a store path has no layer is not made,
// whatever mistake led to it.
func TestPartitionIsChecked(t *testing.T) {
	graph := func(paths ...string) *layering.Graph {
		var nodes []layering.Node
		for _, p := range paths {
			nodes = append(nodes, layering.Node{Path: p})
		}
		g, err := layering.NewGraph(nodes)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	place := func(before, after *layering.Graph) error {
		s := &spec.Spec{MaxLayers: 10, Layering: spec.Popularity}
		needed := &closure{graph: before}
		_, err := placer{builder: &builder{spec: s}, needed: needed}.place(meddler{t.Context(), needed, after}, nil, rootDir())
		return err
	}
	all, some := graph(appPath, libcPath), graph(libcPath)
	if err := place(all, all); err != nil {
		t.Error(err)
	}
	if err := place(some, all); err == nil || !strings.Contains(err.Error(), `"`+appPath+`" is in no layer`) {
		t.Errorf("a path without a layer: %v", err)
	}
	if err := place(all, some); err == nil || !strings.Contains(err.Error(), `"`+appPath+`", in layer`) {
		t.Errorf("a path too many: %v", err)
	}
}
