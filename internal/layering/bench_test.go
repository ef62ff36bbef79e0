package layering

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func named(n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i].Path = fmt.Sprintf("/nix/store/%032d-package%d-1.0", i, i%100)
	}
	return nodes
}

// randomDAG returns n paths with about edges references, each to any earlier path.
func randomDAG(n, edges int) []Node {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(edges)))
	nodes := named(n)
	for range edges {
		i, j := rng.IntN(n), rng.IntN(n)
		if i != j {
			i, j = max(i, j), min(i, j)
			nodes[i].References = append(nodes[i].References, nodes[j].Path)
		}
	}
	return nodes
}

// windowDAG returns n paths that each refer to the preceding width paths.
func windowDAG(n, width int) []Node {
	nodes := named(n)
	for i := range nodes {
		for j := max(0, i-width); j < i; j++ {
			nodes[i].References = append(nodes[i].References, nodes[j].Path)
		}
	}
	return nodes
}

// bipartiteDAG returns ranks of width paths; each path refers to the whole rank
// before its own.
func bipartiteDAG(ranks, width int) []Node {
	nodes := named(ranks * width)
	for i := width; i < len(nodes); i++ {
		before := (i/width - 1) * width
		for j := range width {
			nodes[i].References = append(nodes[i].References, nodes[before+j].Path)
		}
	}
	return nodes
}

// strandsDAG returns strands windows side by side, in half of n paths; each path of
// the other half refers to a path of every strand. No path has nearly the same
// ancestors as one it refers to, and sums are long.
func strandsDAG(n, strands int) []Node {
	nodes := named(n)
	length := n / 2 / strands
	// The graph is written from its roots: referrer before reference.
	link := func(from, to int) {
		nodes[from].References = append(nodes[from].References, nodes[to].Path)
	}
	for s := range strands {
		for i := range length {
			for j := max(0, i-10); j < i; j++ {
				link(s*length+j, s*length+i)
			}
		}
		for i := strands * length; i < n; i++ {
			link(s*length+length-1-i%10, i)
		}
	}
	return nodes
}

// The limit to keep for 10,000 paths and 100,000 references: 3 s and 256 MiB.
func BenchmarkPopularity(b *testing.B) {
	for _, bm := range []struct {
		name  string
		nodes func() []Node
	}{
		{"random", func() []Node { return randomDAG(10000, 100000) }},
		{"window", func() []Node { return windowDAG(10000, 10) }},
		{"bipartite", func() []Node { return bipartiteDAG(1000, 10) }},
		{"strands", func() []Node { return strandsDAG(10000, 2) }},
		{"complete", func() []Node { return windowDAG(3000, 3000) }},
		{"random100k", func() []Node { return randomDAG(100000, 1000000) }},
		{"window30k", func() []Node { return windowDAG(30000, 10) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			nodes := bm.nodes()
			var peak uint64
			runtime.GC()
			b.ReportAllocs()
			for b.Loop() {
				g, err := NewGraph(nodes)
				if err != nil {
					b.Fatal(err)
				}
				stop := watchHeap(&peak)
				_, err = g.Popularity(b.Context())
				stop()
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}

// The limit to keep for 10,000 paths and 100,000 references: 2 s for as many layers
// as an image may have.
func BenchmarkAuto(b *testing.B) {
	for _, bm := range []struct {
		name  string
		nodes func() []Node
	}{
		{"random", func() []Node { return randomDAG(10000, 100000) }},
		{"window", func() []Node { return windowDAG(10000, 10) }},
		{"bipartite", func() []Node { return bipartiteDAG(1000, 10) }},
		{"random100k", func() []Node { return randomDAG(100000, 1000000) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(7, 8))
			nodes := bm.nodes()
			for i := range nodes {
				nodes[i].NarSize = rng.Uint64N(1 << 30)
			}
			g, err := NewGraph(nodes)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Auto(b.Context(), 127); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// watchHeap raises *peak to the heap's size, with garbage and the graph's input,
// whenever it looks, until stop is called.
func watchHeap(peak *uint64) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	go func() {
		defer close(gone)
		for {
			metrics.Read(sample)
			*peak = max(*peak, sample[0].Value.Uint64())
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() { close(done); <-gone }
}
