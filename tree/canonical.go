package tree

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/problems"
)

// Compare orders paths canonically: component by component, each by its
// bytes, so that "a/b" comes before "a-b" and a directory before what is below
// it. The root, ".", comes first.
func Compare(a, b string) int {
	if a == "." {
		a = ""
	}
	if b == "." {
		b = ""
	}
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		default:
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}

// Sort puts entries into canonical order. Entries of the same path keep
// theirs.
func Sort(entries []*Entry) {
	slices.SortStableFunc(entries, compareEntries)
}

func compareEntries(a, b *Entry) int { return Compare(a.Path, b.Path) }

// All returns entries as a stream.
func All(entries []*Entry) Seq {
	return func(yield func(*Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Collect reads a whole stream. On an error it returns no entries.
func Collect(seq Seq) ([]*Entry, error) {
	var entries []*Entry
	for e, err := range seq {
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Chown gives every entry the owner uid:gid and no owner names. The set-user-id
// and set-group-id bits and capabilities stay: there is no kernel here that
// would clear them.
func Chown(entries []*Entry, uid, gid uint32) {
	for _, e := range entries {
		e.UID, e.GID = uid, gid
		e.Uname, e.Gname = "", ""
	}
}

// Place returns a copy of the tree, moved so that its root becomes target. The directories above
// target are added as Implied ones, 0755 0:0. A leading slash of target is ignored. A target
// that is empty or contains ".." is an error, and so is a tree that would put something other
// than a directory at the image's root.
func Place(entries []*Entry, target string) ([]*Entry, error) { return placed(entries, target, false) }

// placed is like Place, but can move the entries themselves.
func placed(entries []*Entry, target string, inPlace bool) ([]*Entry, error) {
	to, err := cleanTarget(target)
	if err != nil {
		return nil, err
	}
	all := entries
	if !inPlace {
		all = make([]*Entry, len(entries))
	}
	for i, e := range entries {
		if !inPlace {
			e = new(*e)
		}
		if e.Path = rebase(e.Path, ".", to); e.Path == "." && e.Type != Dir {
			return nil, fmt.Errorf("%s (%s) cannot become the root directory: give it a target such as %q", e.Type, from(e), "/"+path.Base(e.Source))
		}
		all[i] = e
	}
	return complete(all)
}

func cleanTarget(target string) (string, error) {
	if target == "" {
		return "", errors.New(`target is empty: write "/" for the root`)
	}
	if strings.ContainsRune(target, 0) {
		return "", fmt.Errorf("target %q holds a NUL byte", target)
	}
	if hasDotDot(target) {
		return "", fmt.Errorf("target %q holds \"..\"", target)
	}
	return cleanPath(target), nil
}

// cleanPath makes a name without ".." into a Path.
func cleanPath(name string) string {
	if clean := strings.TrimPrefix(path.Clean("/"+name), "/"); clean != "" {
		return clean
	}
	return "."
}

func hasDotDot(name string) bool {
	for c := range strings.SplitSeq(name, "/") {
		if c == ".." {
			return true
		}
	}
	return false
}

// below reports whether name is a path strictly below dir.
func below(name, dir string) bool {
	if dir == "." {
		return name != "."
	}
	return len(name) > len(dir) && name[len(dir)] == '/' && name[:len(dir)] == dir
}

// rebase returns the path of name, which is from or below it, after from has become to.
func rebase(name, from, to string) string {
	if name == from {
		return to
	}
	if from != "." {
		name = name[len(from)+1:]
	}
	if to == "." {
		return name
	}
	return to + "/" + name
}

// Find returns the entry at name of a canonical tree, or nil.
func Find(entries []*Entry, name string) *Entry {
	if i, ok := indexOf(entries, name); ok {
		return entries[i]
	}
	return nil
}

func indexOf(entries []*Entry, name string) (int, bool) {
	return slices.BinarySearchFunc(entries, name, func(e *Entry, name string) int { return Compare(e.Path, name) })
}

// Sub returns copies of the entries at dir and below it, moved so that dir becomes the root: the
// reverse of Place. If there is nothing at dir, it returns no entries.
func Sub(entries []*Entry, dir string) []*Entry {
	var sub []*Entry
	for _, e := range entries {
		if e.Path == dir || below(e.Path, dir) {
			e = new(*e)
			e.Path = rebase(e.Path, dir, ".")
			sub = append(sub, e)
		}
	}
	return sub
}

// Without returns the entries that are neither at one of the names nor below it.
func Without(entries []*Entry, names ...string) []*Entry {
	var kept []*Entry
	for _, e := range entries {
		if !slices.ContainsFunc(names, func(name string) bool { return e.Path == name || below(e.Path, name) }) {
			kept = append(kept, e)
		}
	}
	return kept
}

// Complete returns the entries in canonical order, with every missing parent added as an Implied
// directory. Without entries the tree is a root alone. An entry below something other than a
// directory, or a path that is there twice, is an error; all of them are reported.
func Complete(entries []*Entry) ([]*Entry, error) {
	if len(entries) == 0 {
		return []*Entry{NewImpliedDir(".")}, nil
	}
	sorted := slices.Clone(entries)
	Sort(sorted)
	return complete(sorted)
}

// complete returns the canonical entries with every missing parent added, as
// Complete does; without entries there are none. If nothing is missing, it
// returns the same list.
func complete(entries []*Entry) ([]*Entry, error) {
	var all []*Entry  // once it has more than entries
	var open []string // the directories above the last entry, outermost first
	var last *Entry   // the last entry without an error
	var bad problems.List
	for i, e := range entries {
		if last != nil && e.Path == last.Path {
			bad.Addf("%q is there twice: %s and %s", brief(e.Path), from(last), from(e))
			continue
		}
		if last != nil && last.Type != Dir && below(e.Path, last.Path) {
			bad.Add(belowError(e, last))
			continue
		}
		for len(open) > 0 && !below(e.Path, open[len(open)-1]) {
			open = open[:len(open)-1]
		}
		for _, dir := range missing(open, e.Path) {
			if all == nil {
				all = append(make([]*Entry, 0, len(entries)+1), entries[:i]...)
			}
			all, open = append(all, impliedDir(dir, e.ModTime, e.Source)), append(open, dir)
		}
		if all != nil {
			all = append(all, e)
		}
		if e.Type == Dir {
			open = append(open, e.Path)
		}
		last = e
	}
	if all == nil {
		all = entries
	}
	return all, bad.Err()
}

// missing lists the directories above name that are not open, outermost first.
func missing(open []string, name string) []string {
	switch {
	case name == ".":
		return nil
	case len(open) == 0:
		return append([]string{"."}, between(".", name)...)
	}
	return between(open[len(open)-1], name)
}

// between lists the directories that are below dir and above name, outermost
// first.
func between(dir, name string) []string {
	start := len(dir) + 1
	if dir == "." {
		start = 0
	}
	var dirs []string
	for i := start; i < len(name); i++ {
		if name[i] == '/' {
			dirs = append(dirs, name[:i])
		}
	}
	return dirs
}

func belowError(e, above *Entry) error {
	if above.Type == Symlink {
		return fmt.Errorf("entry %q lies below the symlink %q (to %q): write it at the directory itself", brief(e.Path), brief(above.Path), brief(above.Linkname))
	}
	return fmt.Errorf("entry %q lies below %q, which is a %s", brief(e.Path), brief(above.Path), above.Type)
}

// from names an entry's origin for messages.
func from(e *Entry) string {
	if e.Source == "" {
		return "from an unnamed source"
	}
	return fmt.Sprintf("from %q", e.Source)
}

// String names the type for messages.
func (t Type) String() string {
	switch t {
	case Regular:
		return "regular file"
	case Symlink:
		return "symlink"
	case Char:
		return "character device"
	case Block:
		return "block device"
	case Dir:
		return "directory"
	case FIFO:
		return "FIFO"
	case Link:
		return "hard link"
	}
	return fmt.Sprintf("entry of type %q", byte(t))
}
