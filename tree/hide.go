package tree

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/problems"
)

// hides is a directory of lower layers in which a layer hides something. It
// stands apart from what the layer has there itself, so that neither depends on
// the other's order.
type hides struct {
	// names are hidden; opaque hides all.
	names    map[string]bool
	opaque   bool
	children map[string]*hides
}

// whiteout notes that dir/base hides something in lower layers.
func (x *layerIndex) whiteout(dir, base string) error {
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	switch {
	case base == whiteoutOpaque:
	case hidden == "" || hidden == "." || hidden == "..":
		return fmt.Errorf("%q is a whiteout of %q, which is no name", base, hidden)
	case strings.HasPrefix(hidden, whiteoutPrefix):
		return fmt.Errorf("%q is a whiteout of %q, which is one itself", base, hidden)
	}
	at := &x.hides
	for c := range strings.SplitSeq(path.Clean("./"+dir), "/") {
		if c == "." {
			break
		}
		next := at.children[c]
		if next == nil {
			if !x.limits.entries.take(1) {
				return x.limits.tooMany()
			}
			if at.children == nil {
				at.children = map[string]*hides{}
			}
			next = &hides{}
			at.children[strings.Clone(c)] = next
		}
		at = next
	}
	if base == whiteoutOpaque {
		at.opaque = true
		return nil
	}
	if at.names == nil {
		at.names = map[string]bool{}
	}
	at.names[strings.Clone(hidden)] = true // and not the whole path
	return nil
}

// check says which whiteouts are below something in own, the layer's own
// directory, that is none.
func (h *hides) check(own *node, bad *problems.List) {
	for _, name := range slices.Sorted(maps.Keys(h.children)) {
		switch child := own.children[name]; {
		case child == nil:
		case child.entry.Type != Dir:
			bad.Addf("whiteouts below %q: the layer itself has a %s there", brief(child.entry.Path), child.entry.Type)
		default:
			h.children[name].check(child, bad)
		}
	}
}

// apply hides in lower what is to be hidden. own is what the layer itself has
// at the same place, or nil.
func (h *hides) apply(lower, own *node, bad *problems.List) {
	if h.opaque {
		lower.children = nil
	}
	for name := range h.names {
		delete(lower.children, name)
	}
	for _, name := range slices.Sorted(maps.Keys(h.children)) {
		var above *node
		if own != nil {
			above = own.children[name]
		}
		switch below := lower.children[name]; {
		case below == nil:
			// There is nothing to hide, or it is hidden already.
		case below.entry.Type == Dir:
			h.children[name].apply(below, above, bad)
		case above == nil:
			bad.Addf("whiteouts below %q: a lower layer has a %s there", brief(below.entry.Path), below.entry.Type)
		}
	}
}
