package tree

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/varve-image/varve/internal/problems"
)

// glob matches paths: "*" and "?" within a component, "**" across components,
// character classes and {a,b}. It starts at the tree's root, with or without a
// leading slash; "**/x" finds x anywhere, "x/**" is x and everything below it,
// "**" everything with the root. The root alone is "/".
type glob struct {
	pattern string
	// literal says that the pattern matches only itself.
	literal bool
}

func parseGlob(text string) (glob, error) {
	if text == "" {
		return glob{}, fmt.Errorf(`glob is empty: write "/" for the root`)
	}
	if !doublestar.ValidatePattern(text) {
		return glob{}, fmt.Errorf("glob %q is malformed: a bracket, brace or backslash is left open", text)
	}
	pattern := text
	for trimmed := ""; pattern != trimmed; {
		trimmed = pattern
		pattern = strings.TrimPrefix(strings.TrimLeft(pattern, "/"), "./")
	}
	if !strings.HasSuffix(pattern, `\/`) {
		pattern = strings.TrimRight(pattern, "/")
	}
	if pattern == "" {
		pattern = "."
	}
	return glob{pattern, !strings.ContainsAny(pattern, `*?[{\`)}, nil
}

func (g glob) match(name string) bool {
	if g.literal {
		return g.pattern == name
	}
	if name == "." {
		// To the matcher "." is a name of one character.
		return g.pattern == "**"
	}
	return doublestar.MatchUnvalidated(g.pattern, name)
}

// Exclude returns the entries of the canonical tree that no glob matches,
// without what lies below an excluded directory. The root is never excluded:
// "**" empties the tree. A glob that matches nothing is no error, and is in idle.
func Exclude(entries []*Entry, globs []string) (kept []*Entry, idle []string, err error) {
	parsed := make([]glob, len(globs))
	var bad problems.List
	for i, text := range globs {
		if parsed[i], err = parseGlob(text); err != nil {
			bad.Addf("exclude[%d]: %w", i, err)
		}
	}
	if err := bad.Err(); err != nil {
		return nil, nil, err
	}
	matched := make([]bool, len(globs))
	kept = make([]*Entry, 0, len(entries))
	var gone *Entry
	for _, e := range entries {
		inside := gone != nil && below(e.Path, gone.Path)
		if e.Path != "." && matchAny(parsed, e.Path, matched, inside) && !inside {
			gone, inside = e, true
		}
		if !inside {
			kept = append(kept, e)
		}
	}
	for i, text := range globs {
		if !matched[i] {
			idle = append(idle, text)
		}
	}
	return kept, idle, nil
}

// matchAny tells whether a glob matches name, and notes which do: of a name that
// is excluded already only those count that have matched nothing yet.
func matchAny(globs []glob, name string, matched []bool, excluded bool) bool {
	any := false
	for i, g := range globs {
		if excluded && matched[i] || !g.match(name) {
			continue
		}
		any, matched[i] = true, true
	}
	return any
}
