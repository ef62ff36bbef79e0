package tree

import (
	"fmt"
	"path"
	"strings"
)

const (
	// maxLinks is how many symlinks Linux follows for one path.
	maxLinks = 40
	// maxSteps limits the components of one path and of the links on it.
	maxSteps = 2048
)

// landing is where a path leads in a tree.
type landing[D any] struct {
	// path has no symlink in it.
	path string
	// entry is the entry at path, or nil if there is none. dir is the same, as a
	// directory.
	entry *Entry
	dir   D
}

// resolve follows name, and every symlink on it, the last one too, inside the
// tree whose root directory is root: an absolute link starts at the root, where
// ".." stops. child finds what a directory holds, or nil. Names below something
// that does not exist are taken as they are. It is an error if the path leads
// through something other than a directory, or does not end.
func resolve[D any](root D, name string, child func(dir D, path string) (D, *Entry)) (landing[D], error) {
	start := landing[D]{path: ".", dir: root, entry: &Entry{Path: ".", Type: Dir}}
	way := []landing[D]{start}
	pending := strings.Split(name, "/")
	links := 0
	for steps := 0; len(pending) > 0; steps++ {
		if steps == maxSteps {
			return start, fmt.Errorf("the links on the way have more than %d components", maxSteps)
		}
		c := pending[0]
		pending = pending[1:]
		at := way[len(way)-1]
		switch {
		case at.entry != nil && at.entry.Type != Dir:
			return start, fmt.Errorf("%q on the way is a %s", brief(at.path), at.entry.Type)
		case c == "" || c == ".":
			continue
		case c == "..":
			way = way[:max(1, len(way)-1)]
			continue
		}
		next := landing[D]{path: path.Join(at.path, c)}
		if at.entry != nil {
			next.dir, next.entry = child(at.dir, next.path)
		}
		if next.entry == nil || next.entry.Type != Symlink {
			way = append(way, next)
			continue
		}
		if links++; links > maxLinks {
			return start, fmt.Errorf("there are more than %d symlinks on the way: they lead in a circle", maxLinks)
		}
		if strings.HasPrefix(next.entry.Linkname, "/") {
			way = way[:1]
		}
		pending = append(strings.Split(next.entry.Linkname, "/"), pending...)
	}
	return way[len(way)-1], nil
}

// resolveIn is resolve in a canonical tree.
func resolveIn(tree []*Entry, name string) (landing[struct{}], error) {
	return resolve(struct{}{}, name, func(_ struct{}, name string) (struct{}, *Entry) {
		return struct{}{}, Find(tree, name)
	})
}

// Reach returns where name leads in a canonical tree: its path without symlinks, which are
// followed inside the tree, the last one too, and the entry there, or nil. What does not exist is
// taken as it is. It is an error if name leads through something other than a directory, or does
// not end.
func Reach(entries []*Entry, name string) (string, *Entry, error) {
	at, err := resolveIn(entries, name)
	return at.path, at.entry, err
}

// Lookup returns the entry that name leads to in a canonical tree: symlinks to
// directories on the way are followed inside the tree, but not a symlink at name
// itself. It returns nil if there is no such entry.
func Lookup(entries []*Entry, name string) *Entry {
	dir, err := resolveIn(entries, path.Dir(name))
	if err != nil || dir.entry == nil {
		return nil
	}
	return Find(entries, path.Join(dir.path, path.Base(name)))
}

// Follow is like Lookup, but follows a symlink at name itself too. The entry it
// returns is not a symlink.
func Follow(entries []*Entry, name string) *Entry {
	at, err := resolveIn(entries, name)
	if err != nil {
		return nil
	}
	return at.entry
}
