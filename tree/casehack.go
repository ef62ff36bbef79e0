package tree

import (
	"fmt"
	"slices"
	"strings"
)

// caseHack begins the suffix that Nix gives to all but one of the names that
// differ in nothing but case, where it unpacks them on a file system that ignores
// case, as macOS has it.
//
// Source: "use-case-hack" in Nix's configuration.
const caseHack = "~nix~case~hack~"

// StoreName returns the name that a file of a store path has in the store path's
// archive, and everywhere else, when it is called name on disk.
func StoreName(name string) string {
	name, _, _ = strings.Cut(name, caseHack)
	return name
}

// child is a file in a directory: what it is called on disk, and in the tree.
type child struct {
	name, shown string
}

// order puts the names in a directory in order.
func (w *dirWalk) order(source string, names []string) ([]child, error) {
	children := make([]child, len(names))
	for i, name := range names {
		children[i] = child{name, name}
		if w.opts.Store {
			children[i].shown = StoreName(name)
		}
	}
	slices.SortFunc(children, func(a, b child) int { return w.opts.Compare(a.shown, b.shown) })
	for i, c := range children {
		if c.shown == "" || i > 0 && c.shown == children[i-1].shown {
			return nil, fmt.Errorf("%q: without the suffix that Nix gives to names, %q is another file's name", source, c.name)
		}
	}
	return children, nil
}
