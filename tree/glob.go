package tree

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/varve-image/varve/internal/problems"
)

// glob matches paths: "*" and "?" within a component, "**" across components,
// character classes and {a,b}. It starts at the tree's root, with or without a
// leading slash, also within braces, as in "{/var,}/tmp"; "**/x" finds x anywhere,
// "x/**" is x and everything below it, "**" everything with the root. The root
// alone is "/".
type glob []alternative

// alternative is a glob that does not begin with braces around the root's slash.
type alternative struct {
	pattern string
	// literal says that the pattern matches only itself.
	literal bool
}

// Limits of a glob: its length in bytes, and how many globs braces at its beginning expand to.
const (
	maxGlob         = 16 << 10
	maxAlternatives = 1000
)

func parseGlob(text string) (glob, error) {
	if text == "" {
		return nil, fmt.Errorf(`glob is empty: write "/" for the root`)
	}
	if len(text) > maxGlob {
		return nil, fmt.Errorf("glob %q… is longer than %d bytes: write several", text[:100], maxGlob)
	}
	if !doublestar.ValidatePattern(text) {
		return nil, fmt.Errorf("glob %q is malformed: a bracket, brace or backslash is left open", text)
	}
	var g glob
	for rest := []string{text}; len(rest) > 0; {
		pattern := fromRoot(rest[0])
		rest = rest[1:]
		if more := withoutBraces(pattern); more != nil {
			rest = append(more, rest...)
		} else {
			g = append(g, newAlternative(pattern))
		}
		if len(g)+len(rest) > maxAlternatives {
			return nil, fmt.Errorf("glob %q stands for more than %d: write several", text, maxAlternatives)
		}
	}
	return g, nil
}

// fromRoot returns a pattern without the prefix that says that it starts at the root.
func fromRoot(pattern string) string {
	for trimmed := ""; pattern != trimmed; {
		trimmed = pattern
		pattern = strings.TrimPrefix(strings.TrimLeft(pattern, "/"), "./")
	}
	return pattern
}

func newAlternative(pattern string) alternative {
	if !strings.HasSuffix(pattern, `\/`) {
		pattern = strings.TrimRight(pattern, "/")
	}
	if pattern == "" {
		pattern = "."
	}
	return alternative{pattern, !strings.ContainsAny(pattern, `*?[{\`)}
}

// withoutBraces returns the patterns that one with braces at its beginning expands to, if any of
// them starts with the root's slash. The matcher expands other braces: its paths have no such
// slash.
func withoutBraces(pattern string) []string {
	alternatives, rest := leadingBraces(pattern)
	found := false
	for i, a := range alternatives {
		alternatives[i] = a + rest
		found = found || fromRoot(alternatives[i]) != alternatives[i] || strings.HasPrefix(alternatives[i], "{")
	}
	if !found {
		return nil
	}
	return alternatives
}

// leadingBraces splits a pattern into the alternatives in the braces at its beginning, and the
// rest.
func leadingBraces(pattern string) (alternatives []string, rest string) {
	if !strings.HasPrefix(pattern, "{") {
		return nil, pattern
	}
	depth, start, class := 0, 1, false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '{':
			depth++
		case c == ',' && depth == 1:
			alternatives = append(alternatives, pattern[start:i])
			start = i + 1
		case c == '}':
			if depth--; depth == 0 {
				return append(alternatives, pattern[start:i]), pattern[i+1:]
			}
		}
	}
	return nil, pattern
}

func (g glob) match(name string) bool {
	return slices.ContainsFunc(g, func(a alternative) bool { return a.match(name) })
}

func (a alternative) match(name string) bool {
	if a.literal {
		return a.pattern == name
	}
	if name == "." {
		// The matcher takes "." for a name of one character.
		return a.pattern == "**"
	}
	return doublestar.MatchUnvalidated(a.pattern, name)
}

// Exclude returns the entries of the canonical tree that no glob matches, without what lies
// below an excluded directory. The root is never excluded: "**" empties the tree. A glob that
// matches nothing is not an error; idle lists these. Without globs it returns the same list.
func Exclude(entries []*Entry, globs []string) (kept []*Entry, idle []string, err error) {
	parsed, err := parseGlobs("exclude", globs)
	if err != nil {
		return nil, nil, err
	}
	kept, _, matched := remove(entries, parsed)
	for i, text := range globs {
		if !matched[i] {
			idle = append(idle, text)
		}
	}
	return kept, idle, nil
}

// Remove is like Exclude. gone are the paths that are left out, without those below them, and
// matched says which globs match something.
func Remove(entries []*Entry, globs []string) (kept []*Entry, gone []string, matched []bool, err error) {
	parsed, err := parseGlobs("remove", globs)
	if err != nil {
		return nil, nil, nil, err
	}
	kept, gone, matched = remove(entries, parsed)
	return kept, gone, matched, nil
}

// parseGlobs reads the globs of a list with a name.
func parseGlobs(name string, globs []string) ([]glob, error) {
	parsed := make([]glob, len(globs))
	var bad problems.List
	for i, text := range globs {
		var err error
		if parsed[i], err = parseGlob(text); err != nil {
			bad.Addf("%s[%d]: %w", name, i, err)
		}
	}
	return parsed, bad.Err()
}

func remove(entries []*Entry, globs []glob) (kept []*Entry, gone []string, matched []bool) {
	matched = make([]bool, len(globs))
	if len(globs) == 0 {
		return entries, nil, matched
	}
	kept = make([]*Entry, 0, len(entries))
	for _, e := range entries {
		inside := len(gone) > 0 && below(e.Path, gone[len(gone)-1])
		if e.Path != "." && matchAny(globs, e.Path, matched, inside) && !inside {
			gone, inside = append(gone, e.Path), true
		}
		if !inside {
			kept = append(kept, e)
		}
	}
	return kept, gone, matched
}

// ThroughLinks returns a glob with the directories at its beginning, as far as they are named
// without wildcards, replaced by those that they lead to in the canonical tree, through symlinks.
func ThroughLinks(entries []*Entry, text string) string {
	parts := strings.Split(strings.TrimRight(fromRoot(text), "/"), "/")
	n := 0
	for n < len(parts)-1 && !strings.ContainsAny(parts[n], `*?[{\`) {
		n++
	}
	dir := strings.Join(parts[:n], "/")
	to, e, err := Reach(entries, dir)
	if n == 0 || err != nil || e == nil || to == dir || to == "." {
		return text
	}
	return escapeGlob(to) + "/" + strings.Join(parts[n:], "/")
}

// escapeGlob returns a glob for exactly this path.
func escapeGlob(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if strings.IndexByte(`*?[]{}\,`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// matchAny reports whether a glob matches name, and notes which do. For a name that is excluded
// already it tries only the globs that have matched nothing yet.
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
