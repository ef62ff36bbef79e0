package nixstore

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/problems"
)

// workers is how many store paths are read at once.
const workers = 2

// ScanOptions says what Scan looks at.
type ScanOptions struct {
	// StoreDir is the store directory as store paths name it; empty for
	// DefaultStoreDir.
	StoreDir string
	// Root is the directory under which StoreDir is looked up, as for Nix's
	// "local?root="; empty means the machine's own root. No component of StoreDir
	// may be a symlink in it, since that could lead out of it.
	Root string
	// Roots are the store paths whose closure is wanted.
	Roots []string
	// Hashes requests NarHash, too.
	Hashes bool
}

// Scan finds the closure of some store paths without a database, the way Nix finds
// references when it registers a build: a path refers to those paths of the store
// directory whose hash part occurs in its files' content, in its symlinks' targets
// or in the names of its files. Nodes are sorted by path, their references too;
// sizes are those of the archives that Nix would make.
//
// A root that is not in the store, and whatever cannot be read or changes
// while it is read, are errors that name the path, reported together.
func Scan(ctx context.Context, o ScanOptions) ([]PathInfo, error) {
	return scan(ctx, o, true)
}

// HashPaths returns the hash and the size of the archives of o.Roots, sorted by
// path. Its errors are like those of Scan.
func HashPaths(ctx context.Context, o ScanOptions) ([]PathInfo, error) {
	o.Hashes = true
	return scan(ctx, o, false)
}

// scan reads o.Roots, and if follow is set, what they lead to.
func scan(ctx context.Context, o ScanOptions, follow bool) ([]PathInfo, error) {
	dir, err := cleanStoreDir(o.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("scan store: %w", err)
	}
	store, err := openStore(o.Root, dir)
	if err != nil {
		return nil, fmt.Errorf("scan store: %w", err)
	}
	defer store.Close()
	c, err := newCrawl(store, dir)
	if err != nil {
		return nil, fmt.Errorf("scan store %q: %w", store.Name(), err)
	}
	c.hashes = o.Hashes
	if !follow {
		c.table = newHashTable(nil)
	}
	roots, err := c.roots(o.Roots)
	if err != nil {
		return nil, fmt.Errorf("scan store %q: %w", store.Name(), err)
	}
	nodes, err := c.run(ctx, roots)
	if err != nil {
		return nil, fmt.Errorf("scan store %q: %w", store.Name(), err)
	}
	return nodes, nil
}

// crawl follows references from path to path.
type crawl struct {
	store *os.File
	// dir is the logical store directory.
	dir string
	// byHash lists the candidates by hash part. A sound store has one each; a
	// reference to a hash that two share is taken to be to both.
	byHash map[string][]string
	// bases holds the candidates' names in the store directory.
	bases map[string]bool
	table *hashTable
	// hashes says that archives are hashed.
	hashes bool
}

func newCrawl(store *os.File, dir string) (*crawl, error) {
	names, err := store.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list it: %w", err)
	}
	slices.Sort(names)
	c := &crawl{store: store, dir: dir, byHash: map[string][]string{}, bases: map[string]bool{}}
	for _, name := range names {
		c.bases[name] = true
	}
	var hashes []string
	for _, name := range names {
		sp, err := parseBase(name)
		if err != nil || c.isCompanion(name) {
			delete(c.bases, name)
			continue
		}
		if len(c.byHash[sp.Hash]) == 0 {
			hashes = append(hashes, sp.Hash)
		}
		c.byHash[sp.Hash] = append(c.byHash[sp.Hash], name)
	}
	c.table = newHashTable(hashes)
	return c, nil
}

// isCompanion reports whether name is not a store path but something that Nix keeps
// beside one: a lock or the root of a sandbox. A path whose name only looks like
// it, such as <hash>-Cargo.lock, has no sibling without the suffix.
func (c *crawl) isCompanion(name string) bool {
	for _, suffix := range []string{".lock", ".chroot"} {
		if main, ok := strings.CutSuffix(name, suffix); ok && c.bases[main] {
			return true
		}
	}
	return false
}

// roots returns the names in the store directory of the paths to start from.
func (c *crawl) roots(paths []string) ([]string, error) {
	var bad problems.List
	var bases []string
	for _, p := range paths {
		sp, err := parsePath(c.dir, p)
		if err != nil {
			bad.Addf("%w", err)
			continue
		}
		if !c.bases[sp.String()] {
			bad.Addf("path %.300q: there is no such store path", p)
		}
		bases = append(bases, sp.String())
	}
	return bases, bad.Err()
}

// scanned is the result of reading one store path.
type scanned struct {
	base string
	size uint64
	hash digest.Digest // empty unless it is wanted
	refs []string
	err  error
}

// run reads the paths of the queue and all they lead to, on several workers.
func (c *crawl) run(ctx context.Context, queue []string) ([]PathInfo, error) {
	work, results := make(chan string), make(chan scanned)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			w := newWalker(c.table)
			for base := range work {
				results <- c.read(ctx, w, base)
			}
		})
	}
	defer wg.Wait()
	defer close(work)

	queue = sortedSet(queue)
	queued := map[string]bool{}
	for _, base := range queue {
		queued[base] = true
	}
	var done []scanned
	for busy := 0; len(queue) > 0 || busy > 0; {
		var out chan<- string
		var next string
		if len(queue) > 0 {
			out, next = work, queue[0]
		}
		select {
		case out <- next:
			queue = queue[1:]
			busy++
		case r := <-results:
			busy--
			done = append(done, r)
			for _, ref := range r.refs {
				if !queued[ref] {
					queued[ref] = true
					queue = append(queue, ref)
				}
			}
		}
		if ctx.Err() != nil {
			queue = nil
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.nodes(done)
}

// nodes sorts the results.
func (c *crawl) nodes(done []scanned) ([]PathInfo, error) {
	slices.SortFunc(done, func(a, b scanned) int { return cmp.Compare(a.base, b.base) })
	var bad problems.List
	nodes := make([]PathInfo, 0, len(done))
	for _, r := range done {
		if r.err != nil {
			bad.Addf("%w", r.err)
			continue
		}
		node := PathInfo{Path: c.dir + "/" + r.base, NarHash: r.hash, NarSize: r.size}
		for _, ref := range r.refs {
			node.References = append(node.References, c.dir+"/"+ref)
		}
		nodes = append(nodes, node)
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	return nodes, nil
}

// read reads one store path.
func (c *crawl) read(ctx context.Context, w *walker, base string) scanned {
	r := scanned{base: base}
	w.scanner.Reset()
	w.archive(c.hashes)
	r.err = w.node(ctx, place{dir: int(c.store.Fd()), name: base, full: c.store.Name() + "/" + base})
	if r.err != nil {
		return r
	}
	r.size = w.nar.Size()
	if w.sum != nil {
		r.hash = w.sum.Digest()
	}
	for _, hash := range w.scanner.Found() {
		r.refs = append(r.refs, c.byHash[hash]...)
	}
	return r
}

// openStore opens the store directory dir in root.
func openStore(root, dir string) (*os.File, error) {
	if root == "" {
		// The machine's own store may be reached through symlinks.
		return openDir(unix.AT_FDCWD, dir, dir, 0)
	}
	f, err := openDir(unix.AT_FDCWD, root, strings.TrimRight(root, "/"), 0)
	if err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(dir, "/"), "/") {
		next, err := openDir(int(f.Fd()), part, f.Name()+"/"+part, unix.O_NOFOLLOW)
		f.Close()
		if err != nil {
			return nil, err
		}
		f = next
	}
	return f, nil
}
