package layering

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
)

// joined is a layer of some vertices, ordered by name.
type joined struct {
	vertices []int
	size     wide
	// sources are the sources of all of them as a bit set, and count is their number. A group that
	// has become part of another has none.
	sources []uint64
	count   int
}

// pair is a group that could be joined with a later one, by its number, and what that costs.
type pair struct {
	growth wide
	first  int
}

// join makes groups of what is in the pool, and joins them until there are at most n.
func (s *stable) join(ctx context.Context, n int) ([]*joined, error) {
	j := &joiner{groups: s.groups(max(n, maxGroups))}
	if len(j.groups) <= n {
		n = len(j.groups)
	}
	if err := s.findSources(ctx, j.groups); err != nil {
		return nil, err
	}
	if err := j.joinTo(ctx, n); err != nil {
		return nil, err
	}
	left := slices.DeleteFunc(j.groups, func(g *joined) bool { return g.sources == nil })
	for _, g := range left {
		s.sortByName(g.vertices)
	}
	return left, nil
}

func (s *stable) sortByName(vertices []int) {
	slices.SortFunc(vertices, func(a, b int) int { return cmp.Compare(s.names.rank[a], s.names.rank[b]) })
}

// groups returns the groups to begin with: one for each vertex in the pool, or limit groups of
// neighbours. They are ordered by the names of their first paths.
func (s *stable) groups(limit int) []*joined {
	rest := marked(s.pool)
	slices.SortFunc(rest, func(a, b int) int {
		return cmp.Or(cmp.Compare(s.sources[a], s.sources[b]), cmp.Compare(s.names.rank[a], s.names.rank[b]))
	})
	groups := make([]*joined, min(len(rest), limit))
	for i := range groups {
		from, to := i*len(rest)/len(groups), (i+1)*len(rest)/len(groups)
		vertices := slices.Clone(rest[from:to])
		s.sortByName(vertices)
		groups[i] = &joined{vertices: vertices, size: s.g.sizeOf(vertices)}
	}
	slices.SortFunc(groups, func(a, b *joined) int {
		return cmp.Compare(s.names.rank[a.vertices[0]], s.names.rank[b.vertices[0]])
	})
	return groups
}

// findSources fills in the sources of groups.
func (s *stable) findSources(ctx context.Context, groups []*joined) error {
	of := make([]*joined, len(s.g.paths))
	_, count := s.g.numberSources()
	for _, g := range groups {
		g.sources = make([]uint64, (count+63)/64)
		for _, v := range g.vertices {
			of[v] = g
		}
	}
	err := s.g.eachSourceRow(ctx, stripeBytes, func(v, word int, row []uint64) {
		if g := of[v]; g != nil {
			into := g.sources[word:]
			for i := range min(len(row), len(into)) {
				into[i] |= row[i]
			}
		}
	})
	for _, g := range groups {
		for _, word := range g.sources {
			g.count += bits.OnesCount64(word)
		}
	}
	return err
}

// joiner joins groups, which are numbered by their position. For each it keeps the pairs with all
// groups before it in a heap. To look for a group's best partner anew after each step would take
// time in the cube of their number, where many groups have the same best partner.
type joiner struct {
	groups []*joined
	pairs  [][]pair
}

// joinTo joins groups until n are left.
func (j *joiner) joinTo(ctx context.Context, n int) error {
	left := len(j.groups)
	if left <= n {
		return nil
	}
	for second := range j.groups {
		if err := j.addPairs(ctx, second); err != nil {
			return err
		}
	}
	for ; left > n; left-- {
		first, second := j.best()
		a, b := j.groups[first], j.groups[second]
		made := &joined{vertices: append(a.vertices, b.vertices...), size: a.size.plus(b.size), sources: a.sources}
		for i, word := range b.sources {
			made.sources[i] |= word
			made.count += bits.OnesCount64(made.sources[i])
		}
		a.sources, b.sources = nil, nil
		j.pairs[first], j.pairs[second] = nil, nil
		j.groups = append(j.groups, made)
		if err := j.addPairs(ctx, len(j.groups)-1); err != nil {
			return err
		}
	}
	return nil
}

// addPairs makes the heap of the next group.
func (j *joiner) addPairs(ctx context.Context, second int) error {
	b := j.groups[second]
	heap := make([]pair, 0, second)
	for first, a := range j.groups[:second] {
		if a.sources == nil {
			continue
		}
		union, sources := 0, a.sources[:len(b.sources)]
		for i, word := range b.sources {
			union += bits.OnesCount64(word | sources[i])
		}
		growth := a.size.times(uint64(union - a.count)).plus(b.size.times(uint64(union - b.count)))
		heap = append(heap, pair{growth, first})
	}
	for i := len(heap)/2 - 1; i >= 0; i-- {
		j.sink(heap, i)
	}
	j.pairs = append(j.pairs, heap)
	return ctx.Err()
}

// best returns the pair of groups to join next.
func (j *joiner) best() (first, second int) {
	var least pair
	for at, heap := range j.pairs {
		for len(heap) > 0 && j.groups[heap[0].first].sources == nil {
			last := len(heap) - 1
			heap[0] = heap[last]
			heap = heap[:last]
			j.sink(heap, 0)
		}
		if j.pairs[at] = heap; len(heap) > 0 && (second == 0 || j.compare(heap[0], at, least, second) < 0) {
			least, second = heap[0], at
		}
	}
	return least.first, second
}

// compare compares two pairs, whose later groups have the numbers second and otherSecond.
func (j *joiner) compare(p pair, second int, q pair, otherSecond int) int {
	if c := p.growth.compare(q.growth); c != 0 {
		return c
	}
	size := func(first, second int) wide { return j.groups[first].size.plus(j.groups[second].size) }
	return cmp.Or(size(p.first, second).compare(size(q.first, otherSecond)), cmp.Compare(p.first, q.first), cmp.Compare(second, otherSecond))
}

// less orders the pairs of one group with others.
func (j *joiner) less(p, q pair) bool {
	if c := p.growth.compare(q.growth); c != 0 {
		return c < 0
	}
	return cmp.Or(j.groups[p.first].size.compare(j.groups[q.first].size), cmp.Compare(p.first, q.first)) < 0
}

// sink moves the pair at i of a group's heap down to where it belongs.
func (j *joiner) sink(heap []pair, i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(heap); child++ {
			if j.less(heap[child], heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}
