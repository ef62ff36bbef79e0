package tree

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/problems"
)

// hides is a directory of lower layers in which a layer hides something. It is
// kept apart from the layer's own entries there, so that their order does not
// matter.
type hides struct {
	// names are hidden; opaque hides all.
	names    map[string]bool
	opaque   bool
	children map[string]*hides
}

// whiteout notes that dir/base hides something in lower layers.
func (x *layerIndex) whiteout(dir, base string) error {
	hidden := strings.TrimPrefix(base, WhiteoutPrefix)
	switch {
	case base == whiteoutOpaque:
	case hidden == "" || hidden == "." || hidden == "..":
		return fmt.Errorf("%q is a whiteout of %q, which is not a name", base, hidden)
	case strings.HasPrefix(hidden, WhiteoutPrefix):
		return fmt.Errorf("%q is a whiteout of %q, which is one itself", base, hidden)
	}
	at, own := &x.hides, x.root
	for c := range strings.SplitSeq(path.Clean("./"+dir), "/") {
		if c == "." {
			break
		}
		if own != nil {
			own = own.children[c]
		}
		if own != nil && own.entry.Type != Dir {
			return fmt.Errorf("whiteouts below %q: the layer itself has a %s there", brief(own.entry.Path), own.entry.Type)
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
	at.names[strings.Clone(hidden)] = true // a clone does not keep the whole path
	return nil
}

// apply hides in lower what h hides. own is the layer's own node at the same
// path, or nil.
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
		case above == nil && below.entry.Type == Symlink:
			// Some follow it, some replace it by a directory.
			bad.Addf("whiteouts below %q: a lower layer has a symlink there, on which engines do not agree", brief(below.entry.Path))
		}
	}
}
