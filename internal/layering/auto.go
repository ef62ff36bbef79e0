package layering

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// Auto divides the graph into at most n layers, as nixpkgs' dockerTools does by
// default: large paths get a layer each, together with what only they need. An n
// below 1 counts as 1.
//
// Every path has a set of roots, and paths with the same set share a layer. All
// sets are empty at first. The paths become roots one after the other, the largest
// first, and among equally large ones the later in the graph first. A new root's own
// set becomes the root alone. Each path that the new root refers to, directly or
// not, loses from its set the roots that refer to the new one; if the new root
// refers to none of the remaining roots, it joins the set. This ends before there
// would be more than n sets.
//
// Layers are ordered by the sizes of their closures, smallest first, which puts each
// after the layers that it needs, and paths by name. Paths in ignored take part and
// are left out at the end, as are layers of nothing else; they need not be in the
// graph. Where nixpkgs leaves an order to chance, names decide.
//
// It takes the time of n searches of the graph.
func (g *Graph) Auto(ctx context.Context, n int, ignored ...string) ([][]string, error) {
	set, err := g.rootSets(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("divide %d paths into layers: %w", len(g.paths), err)
	}
	names := g.nameRanks()
	members := map[int][]int{}
	for _, i := range names.order {
		members[set[i]] = append(members[set[i]], i)
	}
	var layers []autoLayer
	for _, vertices := range members {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		layers = append(layers, autoLayer{vertices, g.weigh(vertices)})
	}
	slices.SortFunc(layers, func(a, b autoLayer) int {
		return cmp.Or(a.closure.compare(b.closure), cmp.Compare(names.rank[a.vertices[0]], names.rank[b.vertices[0]]))
	})
	return g.withoutIgnored(layers, mark(len(g.paths), g.find(ignored))), nil
}

// autoLayer holds the vertices of a layer, by name.
type autoLayer struct {
	vertices []int
	closure  weight
}

// weight is the size of a closure in 128 bits, and its number of paths, which
// decides if sizes are not known.
type weight struct{ high, low, paths uint64 }

func (w weight) compare(v weight) int {
	return cmp.Or(cmp.Compare(w.high, v.high), cmp.Compare(w.low, v.low), cmp.Compare(w.paths, v.paths))
}

// weigh returns the weight of the closure of vertices.
func (g *Graph) weigh(vertices []int) (w weight) {
	for _, i := range marked(g.forward(vertices)) {
		var carry uint64
		w.low, carry = bits.Add64(w.low, g.sizes[i], 0)
		w.high += carry
		w.paths++
	}
	return w
}

func (g *Graph) withoutIgnored(layers []autoLayer, ignored []bool) [][]string {
	var kept [][]string
	for _, l := range layers {
		var paths []string
		for _, i := range l.vertices {
			if !ignored[i] {
				paths = append(paths, g.paths[i])
			}
		}
		if len(paths) > 0 {
			kept = append(kept, paths)
		}
	}
	return kept
}

// nameRanks holds the vertices in the order of what follows their first dash, then
// of what precedes it, and the position of each in that order.
type nameRanks struct{ order, rank []int }

func (g *Graph) nameRanks() nameRanks {
	r := nameRanks{order: make([]int, len(g.paths)), rank: make([]int, len(g.paths))}
	for i := range r.order {
		r.order[i] = i
	}
	slices.SortFunc(r.order, func(a, b int) int {
		aHash, aName, _ := strings.Cut(g.paths[a], "-")
		bHash, bName, _ := strings.Cut(g.paths[b], "-")
		return cmp.Or(strings.Compare(aName, bName), strings.Compare(aHash, bHash))
	})
	for at, i := range r.order {
		r.rank[i] = at
	}
	return r
}

// rootSets returns the number of every vertex's set of roots: equal sets have equal
// numbers.
func (g *Graph) rootSets(ctx context.Context, n int) ([]int, error) {
	s := newSets(len(g.paths))
	users := g.users()
	of := make([]int, len(g.paths))
	for _, root := range g.largestFirst() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		needs, needed := reach([]int{root}, g.refs, nil), reach([]int{root}, users, nil)
		next := slices.Clone(of)
		moved := map[int]int{} // paths with one set stay together
		for i, ok := range needs {
			if !ok || i == root {
				continue
			}
			to, known := moved[of[i]]
			if !known {
				to = s.number(s.joined(of[i], root, needs, needed))
				moved[of[i]] = to
			}
			s.move(of[i], to)
			next[i] = to
		}
		next[root] = s.number([]int{root})
		s.move(of[root], next[root])
		if s.used > n {
			break
		}
		of = next
	}
	return of, nil
}

// largestFirst returns the vertices by size, the later first among equal ones.
func (g *Graph) largestFirst() []int {
	order := make([]int, len(g.paths))
	for i := range order {
		order[i] = len(order) - 1 - i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(g.sizes[b], g.sizes[a]) })
	return order
}

// sets numbers sets of roots, and counts the sets that some path has.
type sets struct {
	roots   [][]int // each in the order in which its roots became roots
	numbers map[string]int
	paths   []int // how many paths have the set
	used    int
}

// newSets begins with the empty set, whose number is 0, for all paths.
func newSets(paths int) *sets {
	return &sets{roots: [][]int{nil}, numbers: map[string]int{"": 0}, paths: []int{paths}, used: min(paths, 1)}
}

func (s *sets) number(roots []int) int {
	var key []byte
	for _, r := range roots {
		key = binary.AppendUvarint(key, uint64(r))
	}
	number, known := s.numbers[string(key)]
	if !known {
		number = len(s.roots)
		s.numbers[string(key)] = number
		s.roots, s.paths = append(s.roots, roots), append(s.paths, 0)
	}
	return number
}

// joined returns a set as it is after a new root, whose needs include its paths:
// needs are the vertices that the root refers to, needed those that refer to it.
func (s *sets) joined(set, root int, needs, needed []bool) []int {
	var roots []int
	covered := false
	for _, r := range s.roots[set] {
		if !needed[r] {
			roots = append(roots, r)
			covered = covered || needs[r]
		}
	}
	if !covered {
		roots = append(roots, root)
	}
	return roots
}

// move records that a path has another set.
func (s *sets) move(from, to int) {
	if s.paths[from]--; s.paths[from] == 0 {
		s.used--
	}
	if s.paths[to]++; s.paths[to] == 1 {
		s.used++
	}
}
