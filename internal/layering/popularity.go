package layering

import (
	"context"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
	"strings"
)

const (
	// maxNumberBytes limits the memory of the walk counts and scores. n paths need
	// at most n*n/8 bytes: no graph of up to 32,000 paths is refused.
	maxNumberBytes = 128 << 20
	// stripeBytes limits the memory of ancestor sets. All sets of 10,000 paths take
	// 12.5 MB.
	stripeBytes = 32 << 20
)

// Popularity returns the graph's paths, most popular first, in the order of
// nixpkgs' popularity contest.
//
// A root is a path that no other refers to. W(c) is the number of walks along
// references from any root to c, and 1 for a root. The score of a path is the
// sum of W(c) over the path itself and every path that reaches it. Equal scores
// are ordered by package name: the lists of their parts between dashes are
// compared, the first part, which holds the hash, moved to the end.
//
// W(c) has up to as many bits as c has ancestors. Numbers of more than 128 MiB
// in all are an error; only graphs of more than 32,000 paths can have them, and
// those of real closures do not.
func (g *Graph) Popularity(ctx context.Context) ([]string, error) {
	scores, err := g.scores(ctx, stripeBytes)
	if err != nil {
		return nil, fmt.Errorf("order %d paths by popularity: %w", len(g.paths), err)
	}
	rank := make([]int, len(scores))
	names := make([][]string, len(scores))
	for v, i := range g.topo {
		rank[v] = v
		names[v] = nameParts(g.paths[i])
	}
	slices.SortFunc(rank, func(a, b int) int {
		if c := scores[b].Cmp(&scores[a]); c != 0 {
			return c
		}
		return slices.Compare(names[a], names[b])
	})
	order := make([]string, len(rank))
	for i, v := range rank {
		order[i] = g.paths[g.topo[v]]
	}
	return order, nil
}

// nameParts returns the key that orders equally popular paths. It differs from path
// to path, so that the order is total.
func nameParts(path string) []string {
	parts := strings.Split(path, "-")
	return append(parts[1:], parts[0])
}

// scores returns every path's score, in the order of g.topo. Ancestor sets take
// about budget bytes.
//
// From here on a vertex is a path's position in g.topo, so that referrers come
// first: v's ancestors are all smaller than v.
func (g *Graph) scores(ctx context.Context, budget int) ([]big.Int, error) {
	referrers := g.referrers()
	walks, err := countWalks(ctx, referrers)
	if err != nil {
		return nil, err
	}
	base, err := closestReferrers(ctx, referrers, budget)
	if err != nil {
		return nil, err
	}
	// A vertex has every ancestor that its base has. Only its further ancestors are
	// summed up; they are few in deep graphs, where sums are long.
	scores := make([]big.Int, len(referrers))
	err = eachAncestorRow(ctx, referrers, budget, func(s *stripe, v int) {
		without := s.none
		if base[v] >= 0 {
			without = s.row(base[v])
		}
		for i, word := range s.row(v) {
			for word &^= without[i]; word != 0; word &= word - 1 {
				c := s.first + 64*i + bits.TrailingZeros64(word)
				scores[v].Add(&scores[v], &walks[c])
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for v := range scores {
		if base[v] >= 0 {
			scores[v].Add(&scores[v], &scores[base[v]])
		}
	}
	return scores, nil
}

// referrers returns, for every vertex, the vertices that refer to it.
func (g *Graph) referrers() [][]int {
	referrers := make([][]int, len(g.topo))
	vertex := make([]int, len(g.topo))
	for v, i := range g.topo {
		vertex[i] = v
	}
	for v, i := range g.topo {
		for _, j := range g.refs[i] {
			referrers[vertex[j]] = append(referrers[vertex[j]], v)
		}
	}
	return referrers
}

// countWalks returns W of every vertex.
func countWalks(ctx context.Context, referrers [][]int) ([]big.Int, error) {
	walks := make([]big.Int, len(referrers))
	bytes := 0
	for v, from := range referrers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(from) == 0 {
			walks[v].SetInt64(1)
		}
		for _, u := range from {
			walks[v].Add(&walks[v], &walks[u])
		}
		// W never shrinks along a reference. So the score, a sum of at most
		// len(referrers) numbers no larger than W(v), is hardly longer than W(v),
		// and counting W twice counts both.
		bytes += 2 * bits.UintSize / 8 * len(walks[v].Bits())
		if bytes > maxNumberBytes {
			return nil, fmt.Errorf("the references run so deep that counting them takes more than %d MiB; "+
				"give groups of paths a layer of their own, or choose another layering", maxNumberBytes>>20)
		}
	}
	return walks, nil
}

// closestReferrers returns, for every vertex, the referrer that shares most
// ancestors with it, or -1 if it has no referrer.
func closestReferrers(ctx context.Context, referrers [][]int, budget int) ([]int, error) {
	ancestors := make([]int, len(referrers))
	err := eachAncestorRow(ctx, referrers, budget, func(s *stripe, v int) {
		for _, word := range s.row(v) {
			ancestors[v] += bits.OnesCount64(word)
		}
	})
	if err != nil {
		return nil, err
	}
	closest := make([]int, len(referrers))
	for v, from := range referrers {
		closest[v] = -1
		for _, u := range from {
			if closest[v] < 0 || ancestors[u] > ancestors[closest[v]] {
				closest[v] = u
			}
		}
	}
	return closest, nil
}

// A stripe records which of the vertices first, first+1, … first+64*words-1 are
// ancestors of each vertex. A vertex counts as its own ancestor.
type stripe struct {
	first, words int
	bits         []uint64 // the rows of first and all vertices after it
	none         []uint64 // a row without ancestors
}

// row returns v's ancestors in the stripe as a bit set.
func (s *stripe) row(v int) []uint64 {
	if v < s.first {
		return s.none
	}
	start := (v - s.first) * s.words
	return s.bits[start : start+s.words]
}

// eachAncestorRow finds all ancestors of all vertices, a stripe at a time in
// about budget bytes, since all at once would take memory quadratic in the
// number of vertices. In each stripe it calls visit for every vertex that may
// have a bit there, in order; the rows of earlier vertices are then complete.
func eachAncestorRow(ctx context.Context, referrers [][]int, budget int, visit func(s *stripe, v int)) error {
	n := len(referrers)
	if n == 0 {
		return nil
	}
	words := min(max(budget/8/n, 1), (n+63)/64)
	s := &stripe{words: words, bits: make([]uint64, n*words), none: make([]uint64, words)}
	for ; s.first < n; s.first += 64 * words {
		clear(s.bits)
		for v := s.first; v < n; v++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			row := s.row(v)
			if bit := v - s.first; bit < 64*words {
				row[bit/64] |= 1 << (bit % 64)
			}
			for _, u := range referrers[v] {
				for i, word := range s.row(u) {
					row[i] |= word
				}
			}
			visit(s, v)
		}
	}
	return nil
}
