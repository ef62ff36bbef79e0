package tree

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// caseHack begins the suffix that Nix gives to all but one of several names that
// differ only in case, when it unpacks them on a file system that ignores case,
// as on macOS.
//
// Source: "use-case-hack" in Nix's configuration.
const caseHack = "~nix~case~hack~"

// StoreName returns the name that a file called name on disk has in its store
// path's archive, and everywhere else.
func StoreName(name string) string {
	name, _, _ = strings.Cut(name, caseHack)
	return name
}

// SortStoreNames sorts the names on disk of the files in a directory of a store
// path by their StoreName, in the order of compare. Two names with the same
// StoreName are an error.
func SortStoreNames(names []string, compare func(a, b string) int) error {
	if !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, caseHack) }) {
		slices.SortFunc(names, compare)
	} else {
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(compare(StoreName(a), StoreName(b)), strings.Compare(a, b))
		})
	}
	for i, name := range names {
		if shown := StoreName(name); shown == "" || i > 0 && shown == StoreName(names[i-1]) {
			return fmt.Errorf("without the suffix that Nix gives to names, %q is another file's name", name)
		}
	}
	return nil
}
