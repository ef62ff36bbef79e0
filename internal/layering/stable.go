package layering

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Stable divides paths, which are in the graph, into at most n layers, so that little is sent
// again when some of them change, and so that images which are built apart have layers in common.
// An n below 1 counts as 1.
//
// A layer of previous whose paths are all among the paths is kept as it is. Of the others the
// largest have layers of their own; the rest is joined, always the two groups of which the joint
// layer costs least more than they do. A layer costs what it is expected to send again: its size
// times the number of sources of which a change changes it. All sources are equally likely to
// change; rates that somebody has measured once gain nothing after some updates.
//
// Exactly:
//
//   - The sources of a path are Node.Source of all paths that it refers to, directly or not, and
//     its own.
//   - big are the 2n/3 largest of the paths, rounded down; of equally large ones the first by name.
//     They keep the unions from depending on the image: a large path is a layer of its own in
//     every image, with whatever else it is there. Fewer serve one image better, more serve several.
//   - A layer of previous is kept if all of its paths are here, and none is in a kept layer. The
//     largest come first, of equally large ones the first in previous. As long as there are more
//     than n of them, or n of them and a path that is in none, the last of them is given up.
//   - Paths of big that are in no kept layer have layers of their own, the largest first, as far as
//     n allows; one layer is left for other paths, if there are any.
//   - Every other path is a group. Groups are numbered by the name of their first path, and a group
//     that is made of two gets the next number. As long as there are too many, the two are joined
//     whose joint cost grows least; then whose joint size is smallest; then by the smaller of
//     their numbers, and by the larger.
//   - Kept layers come first, in the order of previous, with their paths in the order they had.
//     Others follow by their number of sources, then size, then the name of their first path; their
//     paths are ordered by name.
//
// Names are compared as Auto does it. Paths that are repeated, in paths or in a layer of previous,
// count once. The order of the graph and of paths decides nothing.
//
// It takes time in the square of the number of groups. If these are more than 1500, neighbours in
// the order of their number of sources, and then of names, share a group from the beginning:
// 1500 groups whose numbers of paths differ by at most one. In closures of Debian packages with up to
// 418 paths, 200 groups instead of 1500 send 1 % more again, 100 groups 5 %, and 50 groups 13 %
// (10 layers; less with more layers).
func (g *Graph) Stable(ctx context.Context, paths []string, n int, previous [][]string) ([][]string, error) {
	s := &stable{g: g, names: g.nameRanks(), pool: mark(len(g.paths), g.find(paths))}
	layers, err := s.divide(ctx, n, previous)
	if err != nil {
		return nil, fmt.Errorf("divide %d paths into layers: %w", len(paths), err)
	}
	divided := make([][]string, len(layers))
	for i, vertices := range layers {
		for _, v := range vertices {
			divided[i] = append(divided[i], g.paths[v])
		}
	}
	return divided, nil
}

// maxGroups limits how many groups Stable compares in pairs: 1500 take about a second and 50 MB.
const maxGroups = 1500

// stable is a division in progress.
type stable struct {
	g     *Graph
	names nameRanks
	// pool marks the vertices that have no layer yet, and pooled is their number.
	pool   []bool
	pooled int
	// sources holds for every vertex the number of its sources.
	sources []int
}

func (s *stable) divide(ctx context.Context, n int, previous [][]string) ([][]int, error) {
	all := marked(s.pool)
	if s.pooled = len(all); s.pooled == 0 {
		return nil, nil
	}
	n = min(max(n, 1), len(all))
	big := s.largest(all, 2*n/3)
	layers := s.keep(n, previous)
	if s.pooled == 0 {
		return layers, nil
	}
	var err error
	if s.sources, err = s.g.countSources(ctx, stripeBytes); err != nil {
		return nil, err
	}
	free := n - len(layers)
	made := s.alone(big, free)
	groups, err := s.join(ctx, free-len(made))
	if err != nil {
		return nil, err
	}
	made = append(made, groups...)
	slices.SortFunc(made, func(a, b *joined) int {
		return cmp.Or(cmp.Compare(a.count, b.count), a.size.compare(b.size), cmp.Compare(s.names.rank[a.vertices[0]], s.names.rank[b.vertices[0]]))
	})
	for _, l := range made {
		layers = append(layers, l.vertices)
	}
	return layers, nil
}

// largest returns the n largest vertices, the largest first.
func (s *stable) largest(vertices []int, n int) []int {
	order := slices.Clone(vertices)
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(s.g.sizes[b], s.g.sizes[a]), cmp.Compare(s.names.rank[a], s.names.rank[b]))
	})
	return order[:n]
}

// take moves vertices out of the pool, or back into it.
func (s *stable) take(vertices []int, back bool) {
	for _, v := range vertices {
		s.pool[v] = back
	}
	if back {
		s.pooled += len(vertices)
	} else {
		s.pooled -= len(vertices)
	}
}

// keep takes the layers of previous that stay as they are out of the pool, and returns them.
func (s *stable) keep(n int, previous [][]string) [][]int {
	type layer struct {
		vertices []int
		size     wide
		at       int
	}
	var complete, kept []layer
	for at, paths := range previous {
		if vertices, ok := s.complete(paths); ok {
			complete = append(complete, layer{vertices, s.g.sizeOf(vertices), at})
		}
	}
	slices.SortStableFunc(complete, func(a, b layer) int { return b.size.compare(a.size) })
	for _, l := range complete {
		if !slices.ContainsFunc(l.vertices, func(v int) bool { return !s.pool[v] }) {
			s.take(l.vertices, false)
			kept = append(kept, l)
		}
	}
	for len(kept) > n || s.pooled > 0 && len(kept) == n {
		last := len(kept) - 1
		s.take(kept[last].vertices, true)
		kept = kept[:last]
	}
	slices.SortFunc(kept, func(a, b layer) int { return cmp.Compare(a.at, b.at) })
	layers := make([][]int, len(kept))
	for i, l := range kept {
		layers[i] = l.vertices
	}
	return layers
}

// complete returns the vertices of a layer's paths, each once, if all of them are in the pool.
func (s *stable) complete(paths []string) (vertices []int, ok bool) {
	seen := make(map[int]bool, len(paths))
	for _, path := range paths {
		v, here := s.g.index[path]
		if !here || !s.pool[v] {
			return nil, false
		}
		if !seen[v] {
			seen[v] = true
			vertices = append(vertices, v)
		}
	}
	return vertices, len(vertices) > 0
}

// alone takes the big vertices that can have layers of their own out of the pool, and returns
// these layers: there are free ones, at least one.
func (s *stable) alone(big []int, free int) []*joined {
	big = slices.DeleteFunc(big, func(v int) bool { return !s.pool[v] })
	if len(big) < s.pooled || len(big) > free {
		big = big[:min(len(big), free-1)]
	}
	s.take(big, false)
	layers := make([]*joined, len(big))
	for i, v := range big {
		layers[i] = &joined{vertices: []int{v}, size: wide{low: s.g.sizes[v]}, count: s.sources[v]}
	}
	return layers
}

// sizeOf returns the size of all vertices together.
func (g *Graph) sizeOf(vertices []int) (sum wide) {
	for _, v := range vertices {
		sum = sum.plus(wide{low: g.sizes[v]})
	}
	return sum
}
