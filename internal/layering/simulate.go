package layering

import (
	"context"
	"strings"
)

// Simulated says what a way of dividing would have sent and stored of an image as it changed.
type Simulated struct {
	// Way is a way of dividing, in the words of a spec's layering. With Planned the division before is
	// the plan. One layer for each path, which no image can have, is what none can better.
	Way     string `json:"layering"`
	Planned bool   `json:"previous,omitempty"`
	// Sent holds for each update the bytes of the layers that the version before does not have.
	Sent []float64 `json:"sent"`
	// MeanSent is their mean, and Share that mean by the mean size of the closures they lead to.
	MeanSent float64 `json:"meanSent"`
	Share    float64 `json:"share"`
	// Stored is the size of all different layers of all versions, by that of all different paths.
	Stored float64 `json:"stored"`
}

// simulation is a way of dividing a graph, whose version before was divided as before says.
type simulation struct {
	name    string
	planned bool
	divide  func(ctx context.Context, g *Graph, n int, before [][]string) ([][]string, error)
}

// simulations lists what Simulate compares.
func simulations() []simulation {
	return []simulation{
		{"popularity", false, func(ctx context.Context, g *Graph, n int, _ [][]string) ([][]string, error) {
			order, err := g.Popularity(ctx)
			return Limit(order, n), err
		}},
		{"auto", false, func(ctx context.Context, g *Graph, n int, _ [][]string) ([][]string, error) { return g.Auto(ctx, n) }},
		{"stable", false, func(ctx context.Context, g *Graph, n int, _ [][]string) ([][]string, error) {
			return g.Stable(ctx, g.paths, n, nil)
		}},
		{"stable", true, func(ctx context.Context, g *Graph, n int, before [][]string) ([][]string, error) {
			return g.Stable(ctx, g.paths, n, before)
		}},
		{OnePerPath, false, func(_ context.Context, g *Graph, _ int, _ [][]string) ([][]string, error) {
			return Limit(g.paths, len(g.paths)), nil
		}},
	}
}

// OnePerPath is the way of a layer for each path.
const OnePerPath = "one layer per path"

// Simulate divides versions of an image, from the first to the last, into at most n layers in every
// way.
func Simulate(ctx context.Context, versions []*Graph, n int) ([]Simulated, error) {
	var all []Simulated
	for _, way := range simulations() {
		s := Simulated{Way: way.name, Planned: way.planned, Sent: []float64{}}
		stored := map[string]float64{}
		var before [][]string
		for i, g := range versions {
			layers, err := way.divide(ctx, g, n, before)
			if err != nil {
				return nil, err
			}
			had := map[string]bool{}
			for _, paths := range before {
				had[strings.Join(paths, "\n")] = true
			}
			sent := 0.0
			for _, paths := range layers {
				key, size := strings.Join(paths, "\n"), g.bytes(paths)
				if stored[key] = size; !had[key] {
					sent += size
				}
			}
			if i > 0 {
				s.Sent = append(s.Sent, sent)
			}
			before = layers
		}
		s.sum(versions, stored)
		all = append(all, s)
	}
	return all, nil
}

// sum fills in the figures of all updates together.
func (s *Simulated) sum(versions []*Graph, stored map[string]float64) {
	paths := map[string]float64{}
	closures := 0.0
	for i, g := range versions {
		for j, path := range g.paths {
			paths[path] = float64(g.sizes[j])
		}
		if i > 0 {
			closures += g.bytes(g.paths)
		}
	}
	sent := total(s.Sent)
	if n := len(s.Sent); n > 0 {
		s.MeanSent = sent / float64(n)
	}
	s.Share = ratio(sent, closures)
	s.Stored = ratio(totalOf(stored), totalOf(paths))
}

func (g *Graph) bytes(paths []string) (sum float64) {
	for _, v := range g.find(paths) {
		sum += float64(g.sizes[v])
	}
	return sum
}

func total(sizes []float64) (sum float64) {
	for _, size := range sizes {
		sum += size
	}
	return sum
}

// totalOf adds sizes that are whole numbers: their order decides nothing below 2^53 bytes.
func totalOf[K comparable](sizes map[K]float64) (sum float64) {
	for _, size := range sizes {
		sum += size
	}
	return sum
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
