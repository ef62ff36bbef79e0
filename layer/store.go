package layer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/tree"
)

// StoreOptions says how the files of a store layer look.
type StoreOptions struct {
	// UID, GID, Uname and Gname are every entry's owner.
	UID, GID     uint32
	Uname, Gname string
	// ModTime is every entry's time, in seconds since 1970.
	ModTime int64
	// Root is put before the store paths to find the files, as in Nix's
	// local?root=; empty means the machine's own root.
	Root string
	// Passed, Memo and Pushed are as in Options.
	Passed *Passed
	Memo   Memo
	Pushed func(portable digest.Digest) (digest.Digest, bool)
	// NarHashes, where it is set, returns the SHA-256 of the Nix archives of store paths, in their
	// order, for a portable key, and whether it read files to know them.
	NarHashes func(ctx context.Context, paths []string) (hashes []digest.Digest, read bool, err error)
}

// contents returns what stands for the content of store paths.
func (o StoreOptions) contents(paths []string) func(context.Context) (string, bool, error) {
	if o.NarHashes == nil {
		return nil
	}
	return func(ctx context.Context) (string, bool, error) {
		hashes, read, err := o.NarHashes(ctx, paths)
		if err != nil {
			return "", false, err
		}
		var text strings.Builder
		for i, p := range paths {
			fmt.Fprintf(&text, "%s %s\n", p, hashes[i])
		}
		return text.String(), read, nil
	}
}

// Store describes the layer that nixpkgs' streamLayeredImage makes of store
// paths, in the order given: the directories /nix and /nix/store first whatever
// the store is called, then each path and all below it by code point, hard links
// as full copies, modes as on disk, no extended attributes. Names are those of
// the store paths' archives: see tree.StoreName.
func Store(paths []string, opts StoreOptions) *Layer {
	l := New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			own := func(e *tree.Entry, err error) bool {
				if err != nil {
					return yield(nil, err)
				}
				e.UID, e.GID, e.Uname, e.Gname = opts.UID, opts.GID, opts.Uname, opts.Gname
				e.ModTime = opts.ModTime
				return yield(e, nil)
			}
			for _, dir := range []string{"nix", "nix/store"} {
				if !own(tree.NewDir(dir, 0o755), nil) {
					return
				}
			}
			for _, path := range paths {
				if !storePath(path, opts.Root, own) {
					return
				}
			}
		}
	}, Options{Dialect: PAX, Prefix: "/", Title: storeTitle(paths), Immutable: true, Passed: opts.Passed, Memo: opts.Memo, Contents: opts.contents(paths), Pushed: opts.Pushed})
	l.distinct = func(context.Context) error { return distinctPaths(paths) }
	return l
}

// distinctPaths checks that no path is another or lies in it: what lies in one has a
// name of its own each.
func distinctPaths(paths []string) error {
	sorted := slices.SortedFunc(slices.Values(paths), tree.Compare)
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a == b || strings.HasPrefix(b, a+"/") {
			return fmt.Errorf("store path %q is there twice", b)
		}
	}
	return nil
}

// storeTitle names a layer by the first of its paths.
func storeTitle(paths []string) string {
	switch len(paths) {
	case 0:
		return "no store paths"
	case 1:
		return paths[0]
	}
	return fmt.Sprintf("%s and %d more", paths[0], len(paths)-1)
}

// storePath yields the files of one store path and reports whether to go on.
func storePath(path, root string, yield func(*tree.Entry, error) bool) bool {
	base := strings.TrimPrefix(path, "/")
	for e, err := range tree.FromDir(root+path, tree.DirOptions{Compare: tree.CompareCodePoints, Store: true}) {
		if err != nil {
			yield(nil, err)
			return false
		}
		if e.Path == "." {
			e.Path = base
		} else {
			e.Path = base + "/" + e.Path
		}
		if !yield(e, nil) {
			return false
		}
	}
	return true
}
