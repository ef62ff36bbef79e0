package layer

import (
	"sync/atomic"

	"github.com/varve-image/varve/tree"
)

// maxPassed is how many entries layers that share a Passed keep: a few MB.
const maxPassed = 1 << 14

// Passed lets store layers keep their entries from one pass for the next, which then looks at no
// directory again. Those that share one, such as the layers of an image, keep a limited number of
// entries together. The zero value is ready for use, by several goroutines at once.
type Passed struct{ entries atomic.Int64 }

// collected returns the layer's entries, and keeps them for the next pass. The caller holds l.mu.
func (l *Layer) collected() tree.Seq {
	if l.opts.Passed == nil {
		return l.linked()
	}
	return func(yield func(*tree.Entry, error) bool) {
		var all []*tree.Entry
		keeping := true
		for e, err := range l.linked() {
			if err == nil && keeping {
				all = append(all, e)
				if keeping = l.opts.Passed.entries.Add(1) <= maxPassed; !keeping { // none, rather than some
					l.opts.Passed.drop(all)
					all = nil
				}
			}
			if !yield(e, err) || err != nil {
				l.opts.Passed.drop(all)
				return
			}
		}
		l.opts.Passed.drop(l.before)
		l.before = all
	}
}

func (p *Passed) drop(entries []*tree.Entry) { p.entries.Add(-int64(len(entries))) }

// fromLastPass returns the entries of the last pass, if they were kept, and otherwise the layer's. Whoever
// uses them has to check each file that it reads by its stamp.
func (l *Layer) fromLastPass() tree.Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.before == nil {
		return l.linked()
	}
	before := l.before
	l.opts.Passed.drop(before)
	l.before = nil
	return tree.All(before)
}
