package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// DirlinkOptions says how CopyDirlinks reads a directory.
type DirlinkOptions struct {
	// Xattrs asks for the extended attributes that an Entry may carry.
	Xattrs bool
	// Root is the physical root directory below which absolute links to the
	// store lead; it defaults to "/".
	Root string
	// StoreDir is the store's absolute path below Root, such as /nix/store. ""
	// means no store. StoreName applies to names in it.
	StoreDir string
	// MaxEntries limits the result, which links can make exponentially larger
	// than the source; it defaults to ten million.
	MaxEntries int
}

// CopyDirlinks reads the tree at root as FromDir does, but replaces a symlink
// that leads to a directory by a copy of it, in which it does the same, like
// rsync -k. Links to files, and links that lead nowhere, stay links.
//
// Unlike rsync it follows a link only inside root, and to paths in the store. A
// link to anywhere else stays a link, so that nothing of the build machine gets
// into the image unless it was named. A link that leads to a directory that
// contains it is an error, where rsync repeats it until the kernel stops it. The
// whole source is looked at before the first entry is yielded.
func CopyDirlinks(ctx context.Context, root string, opts DirlinkOptions) Seq {
	return func(yield func(*Entry, error) bool) {
		if opts.MaxEntries <= 0 {
			opts.MaxEntries = defaultMaxEntries
		}
		w := &linkWalk{ctx: ctx, opts: opts, yield: yield, stored: map[string]*linkTree{}}
		start, err := w.start(root)
		follows := false
		if err == nil {
			follows, err = w.follows(start)
		}
		switch {
		case err != nil:
		case follows:
			err = w.copy(start, ".")
		default:
			err = w.handOver(start)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// linkTree is a tree on disk in which links are followed.
type linkTree struct {
	// store is its name in the store, or "" for a source elsewhere.
	store   string
	entries []*Entry
}

// place is a path in a tree; without a tree, an absolute path that leads to
// the store.
type place struct {
	tree *linkTree
	path string
}

// linkWalk is the state of one CopyDirlinks.
type linkWalk struct {
	ctx    context.Context
	opts   DirlinkOptions
	yield  func(*Entry, error) bool
	stored map[string]*linkTree // by name in the store; nil if there is none
	count  int
	frames []linkFrame
}

// linkFrame is a directory being copied, from base down to the link at
// which the next frame goes on.
type linkFrame struct {
	base place
	dir  string // where the link is
}

// start finds where the source is: in the store, or elsewhere.
func (w *linkWalk) start(root string) (place, error) {
	if w.opts.StoreDir != "" {
		abs, err := filepath.Abs(root)
		if err != nil {
			return place{}, fmt.Errorf("find %q: %w", root, err)
		}
		store, err := filepath.Abs(w.physical(""))
		if err != nil {
			return place{}, fmt.Errorf("find %q: %w", w.physical(""), err)
		}
		if rel, err := filepath.Rel(store, abs); err == nil && rel != "." && !hasDotDot(rel) {
			name, rest, _ := strings.Cut(rel, "/")
			t, err := w.load(name)
			if err != nil {
				return place{}, err
			}
			at := cleanPath(rest)
			if t != nil && Find(t.entries, at) != nil {
				return place{t, at}, nil
			}
		}
	}
	entries, err := w.read(root, false)
	return place{&linkTree{entries: entries}, "."}, err
}

func (w *linkWalk) physical(name string) string {
	root := w.opts.Root
	if root == "" {
		root = "/"
	}
	return filepath.Join(root, w.opts.StoreDir, name)
}

func (w *linkWalk) read(root string, store bool) ([]*Entry, error) {
	return Collect(func(yield func(*Entry, error) bool) {
		for e, err := range FromDir(root, DirOptions{Xattrs: w.opts.Xattrs, Store: store}) {
			if err == nil {
				err = w.ctx.Err()
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	})
}

// load returns the tree called name in the store, or nil if there is none.
func (w *linkWalk) load(name string) (*linkTree, error) {
	if t, ok := w.stored[name]; ok {
		return t, nil
	}
	if _, err := os.Lstat(w.physical(name)); errors.Is(err, fs.ErrNotExist) {
		w.stored[name] = nil
		return nil, nil
	}
	entries, err := w.read(w.physical(name), true)
	if err != nil {
		return nil, err
	}
	t := &linkTree{name, entries}
	w.stored[name] = t
	return t, nil
}

// follows reports whether a link of the source may lead to a directory. It does not look at parts
// of a tree: their entries have to be copied anyway.
func (w *linkWalk) follows(at place) (bool, error) {
	if at.path != "." {
		return true, nil
	}
	for _, e := range at.tree.entries {
		if e.Type != Symlink || e.Path == "." {
			continue
		}
		if err := w.ctx.Err(); err != nil {
			return false, err
		}
		if _, isDir, err := w.resolve(place{at.tree, path.Dir(e.Path)}, e.Linkname); isDir || err != nil {
			return isDir, err
		}
	}
	return false, nil
}

// handOver yields a source's own entries, which nobody needs any more.
func (w *linkWalk) handOver(at place) error {
	for i, e := range at.tree.entries {
		if len(e.Path) > maxPath || i >= w.opts.MaxEntries {
			return w.copy(at, ".") // it has the error
		}
	}
	for _, e := range at.tree.entries {
		if !w.yield(e, nil) {
			return errStopped
		}
	}
	return nil
}

// copy yields the entries at a place and below it, with out as their root's
// path.
func (w *linkWalk) copy(at place, out string) error {
	entries := at.tree.entries
	i, _ := indexOf(entries, at.path)
	for ; i < len(entries); i++ {
		e := entries[i]
		if e.Path != at.path && !below(e.Path, at.path) {
			return nil
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		name := rebase(e.Path, at.path, out)
		if len(name) > maxPath {
			return fmt.Errorf("follow the links of %q: the path gets longer than %d bytes", e.Source, maxPath)
		}
		if e.Type == Symlink && e.Path != at.path {
			to, isDir, err := w.resolve(place{at.tree, path.Dir(e.Path)}, e.Linkname)
			if err != nil {
				return err
			}
			if isDir {
				if err := w.enter(at, e, to, name); err != nil {
					return err
				}
				continue
			}
		}
		if w.count++; w.count > w.opts.MaxEntries {
			return fmt.Errorf("follow the links of %q: they lead to more than %d entries", e.Source, w.opts.MaxEntries)
		}
		c := *e
		c.Path = name
		if !w.yield(&c, nil) {
			return errStopped
		}
	}
	return nil
}

// enter copies the directory to in place of link, found below at.
func (w *linkWalk) enter(at place, link *Entry, to place, out string) error {
	w.frames = append(w.frames, linkFrame{at, path.Dir(link.Path)})
	defer func() { w.frames = w.frames[:len(w.frames)-1] }()
	for _, f := range w.frames {
		inside := f.dir == to.path || below(f.dir, to.path)
		beneath := to.path == f.base.path || below(to.path, f.base.path)
		if f.base.tree == to.tree && inside && beneath {
			return fmt.Errorf("%q is a symlink to %q, a directory that it lies in: copying that in its place would never end; remove the link, or keep links as they are with keepContentsDirlinks", link.Source, link.Linkname)
		}
	}
	return w.copy(to, out)
}

// resolve follows target as the text of a link in the directory at. It reports
// whether that leads to a directory in a tree that may be read.
func (w *linkWalk) resolve(at place, target string) (place, bool, error) {
	pending := strings.Split(target, "/")
	if strings.HasPrefix(target, "/") {
		at = place{nil, "/"}
	}
	for hops := 1; ; {
		if len(pending) == 0 {
			return at, at.tree != nil, nil
		}
		next, ok, err := w.step(at, pending[0])
		if !ok || err != nil {
			return place{}, false, err
		}
		pending = pending[1:]
		if next.tree == nil {
			at = next
			continue
		}
		switch e := Find(next.tree.entries, next.path); {
		case e == nil:
			return place{}, false, nil
		case e.Type == Dir:
			at = next
		case e.Type == Symlink:
			if hops++; hops > maxLinks {
				return place{}, false, nil
			}
			pending = append(strings.Split(e.Linkname, "/"), pending...)
			switch {
			case strings.HasPrefix(e.Linkname, "/"):
				at = place{nil, "/"}
			case next.path == ".": // the store path itself is the link
				at = place{nil, w.storeDir()}
			}
		default:
			return place{}, false, nil
		}
	}
}

func (w *linkWalk) storeDir() string { return path.Clean("/" + w.opts.StoreDir) }

// step goes from the directory at to what is called c there. It reports false
// where that leads out of what may be read.
func (w *linkWalk) step(at place, c string) (place, bool, error) {
	switch {
	case c == "" || c == ".":
		return at, true, nil
	case c == ".." && at.tree != nil && at.path != ".":
		return place{at.tree, path.Dir(at.path)}, true, nil
	case c == ".." && at.tree != nil:
		return place{nil, w.storeDir()}, at.tree.store != "", nil
	case c == "..":
		return place{nil, path.Dir(at.path)}, true, nil
	case at.tree != nil:
		return place{at.tree, path.Join(at.path, c)}, true, nil
	case w.opts.StoreDir == "":
		return place{}, false, nil
	case at.path == w.storeDir():
		t, err := w.load(c)
		return place{t, "."}, t != nil, err
	}
	next := path.Join(at.path, c)
	onTheWay := next == w.storeDir() || strings.HasPrefix(w.storeDir(), next+"/")
	return place{nil, next}, onTheWay, nil
}
