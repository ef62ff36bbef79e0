package layering

import (
	"context"
	"math/bits"
	"slices"
)

// numberSources returns the number of every path's source, and how many sources there are.
func (g *Graph) numberSources() (numbers []int, count int) {
	known := map[string]int{}
	numbers = make([]int, len(g.sources))
	for i, name := range g.sources {
		number, ok := known[name]
		if !ok || name == "" {
			number = count
			known[name] = number
			count++
		}
		numbers[i] = number
	}
	return numbers, count
}

// countSources returns for every vertex the number of its sources.
func (g *Graph) countSources(ctx context.Context, budget int) ([]int, error) {
	counts := make([]int, len(g.paths))
	err := g.eachSourceRow(ctx, budget, func(v, _ int, row []uint64) {
		for _, word := range row {
			counts[v] += bits.OnesCount64(word)
		}
	})
	return counts, err
}

// eachSourceRow calls visit with the sources of every vertex as a bit set, in pieces: row begins at
// a number of words. All sets at once would take memory in the square of the number of paths, so
// they are found a stripe at a time, in about budget bytes.
func (g *Graph) eachSourceRow(ctx context.Context, budget int, visit func(v, word int, row []uint64)) error {
	numbers, count := g.numberSources()
	all := (count + 63) / 64
	if all == 0 {
		return nil
	}
	words := min(max(budget/8/len(g.paths), 1), all)
	stripe := make([]uint64, len(g.paths)*words)
	row := func(v int) []uint64 { return stripe[v*words : (v+1)*words] }
	for first := 0; first < all; first += words {
		clear(stripe)
		for _, v := range slices.Backward(g.topo) {
			if err := ctx.Err(); err != nil {
				return err
			}
			own := row(v)
			if bit := numbers[v] - 64*first; bit >= 0 && bit < 64*words {
				own[bit/64] |= 1 << (bit % 64)
			}
			for _, to := range g.refs[v] {
				for i, word := range row(to) {
					own[i] |= word
				}
			}
			visit(v, first, own)
		}
	}
	return nil
}
