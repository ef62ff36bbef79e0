package assemble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/varve-image/varve/spec"
)

// mostMatches limits how many files a glob may name.
const mostMatches = 100_000

var errTooMany = errors.New("too many")

// matched returns the sources that a source stands for: itself, or, where nothing has its name and
// it is a glob, what that matches, in order, each to its own name in the target.
func (b *builder) matched(ctx context.Context, c spec.Copy) ([]spec.Copy, error) {
	if !c.OfMachine() || !strings.ContainsAny(c.Source, `*?[{\`) {
		return []spec.Copy{c}, nil
	}
	root := b.rootOf(c.Source)
	dir, pattern := literal(root, c.Source)
	if pattern == "" || !strings.ContainsAny(pattern, `*?[{\`) {
		return []spec.Copy{c}, nil // which names a file, or nothing
	}
	if !doublestar.ValidatePattern(pattern) {
		return nil, fmt.Errorf("nothing is at %q, and it is not a valid glob", c.Source)
	}
	names, err := matches(ctx, root+dir, pattern)
	switch {
	case errors.Is(err, errTooMany):
		return nil, fmt.Errorf("%q matches more than %d files: copy the directory", b.spec.Written(c.Source), mostMatches)
	case err != nil:
		return nil, fmt.Errorf("%q: %w", b.spec.Written(c.Source), quotePath(err))
	case len(names) == 0:
		return nil, fmt.Errorf("%q matches nothing: neither a file of this name, nor what the glob stands for", b.spec.Written(c.Source))
	}
	list := make([]spec.Copy, len(names))
	for i, name := range names {
		one := c
		one.Source = path.Join(dir, name)
		one.Target = strings.TrimSuffix(c.Target, "/") + "/" + path.Base(name)
		if b.spec.Local(c.Source) {
			if b.globbed == nil {
				b.globbed = map[string]bool{}
			}
			b.globbed[one.Source] = true
		}
		list[i] = one
	}
	return list, nil
}

// literal divides a path below root into the directory that is there by its name, and the rest.
func literal(root, p string) (dir, rest string) {
	dir = "/"
	for rest = strings.TrimPrefix(p, "/"); rest != ""; {
		name, after, _ := strings.Cut(rest, "/")
		if _, err := os.Lstat(root + path.Join(dir, name)); err != nil {
			return dir, rest
		}
		dir, rest = path.Join(dir, name), after
	}
	return dir, ""
}

// matches returns what a glob matches below a directory, without what lies in a directory that it
// matches too. Symlinks to directories are not followed by **.
func matches(ctx context.Context, dir, pattern string) ([]string, error) {
	var names []string
	err := doublestar.GlobWalk(os.DirFS(filepath.Clean(dir)), pattern, func(name string, _ fs.DirEntry) error {
		if len(names) == mostMatches {
			return errTooMany
		}
		names = append(names, name)
		return ctx.Err()
	}, doublestar.WithFailOnIOErrors(), doublestar.WithNoFollow())
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
	kept := names[:0]
	for _, name := range names {
		if last := len(kept) - 1; last < 0 || kept[last] != name && kept[last] != "." && !strings.HasPrefix(name, kept[last]+"/") {
			kept = append(kept, name)
		}
	}
	return kept, nil
}

// local reports whether a path was written relative to the spec's folder, or is one that such a glob
// stands for.
func (b *builder) local(p string) bool { return b.spec.Local(p) || b.globbed[p] }
