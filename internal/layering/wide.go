package layering

import (
	"cmp"
	"math/bits"
)

// wide is a number of 128 bits: sizes are foreign numbers of 64 bits, and neither their sum nor
// their product with a number of paths may wrap around.
type wide struct{ high, low uint64 }

func (w wide) plus(v wide) wide {
	low, carry := bits.Add64(w.low, v.low, 0)
	high, _ := bits.Add64(w.high, v.high, carry)
	return wide{high, low}
}

func (w wide) times(n uint64) wide {
	carry, low := bits.Mul64(w.low, n)
	return wide{w.high*n + carry, low}
}

func (w wide) compare(v wide) int {
	if w.high != v.high {
		return cmp.Compare(w.high, v.high)
	}
	return cmp.Compare(w.low, v.low)
}
