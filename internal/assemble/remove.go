package assemble

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/tree"
)

// removed is what a field of the spec removes from the layers below.
type removed struct {
	field, path string
}

// remove removes what globs match from the layers below and from links, the trees
// of links to contents. field is the globs' field.
func (b *builder) remove(below stack, links [][]*tree.Entry, field string, globs []string) (stack, [][]*tree.Entry, error) {
	if len(globs) == 0 {
		return below, links, nil
	}
	through := make([]string, len(globs))
	for i, glob := range globs {
		through[i] = tree.ThroughLinks(below.entries, glob)
	}
	kept, gone, matched, err := tree.Remove(below.entries, through)
	if err != nil {
		return below, nil, &SpecError{field, err}
	}
	for i, t := range links {
		var own []bool
		if links[i], _, own, err = tree.Remove(t, globs); err != nil {
			return below, nil, &SpecError{field, err}
		}
		for i := range matched {
			matched[i] = matched[i] || own[i]
		}
	}
	var bad problems.List
	for i, glob := range globs {
		if !matched[i] {
			bad.Add(&SpecError{fmt.Sprintf("%s[%d]", field, i), idleRemoval(below, glob)})
		}
	}
	for _, path := range gone {
		b.removed = append(b.removed, removed{field, path})
	}
	return below.without(kept, gone), links, bad.Err()
}

// idleRemoval is the error for a glob that removes nothing.
func idleRemoval(below stack, glob string) error {
	switch {
	case strings.Trim(glob, "/.") == "":
		return fmt.Errorf("%q is the root directory, which stays: \"/**\" removes all that is in it", glob)
	case below.entries == nil:
		return fmt.Errorf("there is nothing below that %q could match: what is copied is left out with exclude", glob)
	}
	return fmt.Errorf("nothing that is below matches %q: globs start at the image's root, and what is copied is left out with exclude", glob)
}

// without returns the stack without the paths that are gone, of which kept is what
// is left. The next layer that is put on it hides them.
func (s stack) without(kept []*tree.Entry, gone []string) stack {
	if len(gone) == 0 {
		return s
	}
	if s.under == nil {
		s.under = s.entries
	}
	s.entries = kept
	var own []*tree.Entry
	for _, e := range s.own {
		if tree.Find(kept, e.Path) != nil {
			own = append(own, e)
		}
	}
	s.own = own
	return s
}

// hide returns the entries of a layer, with whiteouts for what the layers below show
// and the image with this layer does not.
func hide(ctx context.Context, below, shown, entries []*tree.Entry) ([]*tree.Entry, error) {
	changes, err := tree.DiffEntries(ctx, below, shown)
	if err != nil {
		return nil, err
	}
	_, whiteouts := tree.Whiteouts(changes)
	hidden, err := tree.Complete(whiteouts)
	if err != nil || len(whiteouts) == 0 {
		return entries, err
	}
	for i, e := range hidden {
		if there := tree.Find(shown, e.Path); e.Implied && there != nil {
			dir := *there
			dir.Implied = true
			hidden[i] = &dir
		}
	}
	return tree.Merge(ctx, tree.MergeOptions{}, entries, hidden)
}

// checkRemoved refuses removals of the store paths that the image needs: their layers
// are below the layer that would hide them.
func (b *builder) checkRemoved(needed *closure) error {
	var bad problems.List
	store := strings.TrimPrefix(b.spec.StoreDir, "/")
	for _, r := range b.removed {
		if !overlaps(r.path, store) {
			continue
		}
		for _, p := range needed.paths() {
			if overlaps(r.path, strings.TrimPrefix(p, "/")) {
				bad.Add(&SpecError{r.field, fmt.Errorf("%q holds store paths that the image needs, such as %q: name others", "/"+r.path, p)})
				break
			}
		}
	}
	return bad.Err()
}

// overlaps reports whether one of two paths is, or is below, the other.
func overlaps(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// errBuiltRemove is the error for a layer by itself that removes something.
var errBuiltRemove = errors.New("a layer by itself does not know what is below it, and removes nothing: remove it in the image's spec")
