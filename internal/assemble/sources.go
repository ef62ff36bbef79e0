package assemble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nar"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// content is an element of contents that is in the store.
type content struct {
	// path is what was asked for: storePath or a path below it.
	path, storePath string
}

// splitContents separates the elements of contents that are in the store from the
// others, which are copied.
func (b *builder) splitContents(contents []string) (inStore []content, outside []spec.Copy) {
	for _, p := range contents {
		if storePath, _, ok := nixstore.InStore(b.spec.StoreDir, p); ok {
			inStore = append(inStore, content{p, storePath})
		} else {
			outside = append(outside, spec.Copy{Source: p})
		}
	}
	return inStore, outside
}

// physical returns where a path of the spec is on this machine.
func (b *builder) physical(p string) string { return b.rootOf(p) + p }

// rootOf returns the directory under which a path of the spec is looked up.
func (b *builder) rootOf(p string) string {
	if b.local(p) {
		return ""
	}
	return b.opts.RootOf(b.spec.StoreDir, p)
}

// RootOf returns the directory under which an absolute path is looked up, for an image with
// this store directory.
func (o Options) RootOf(storeDir, p string) string {
	if p == storeDir || strings.HasPrefix(p, storeDir+"/") {
		return o.storeRoot()
	}
	return o.Root
}

func (o Options) storeRoot() string { return cmp.Or(o.StoreRoot, o.Root) }

// maxLinks limits a chain of symlinks, as Linux does.
const maxLinks = 40

// follow resolves a source that is itself a symlink. Absolute targets start at the
// root under which the source was looked up.
func (b *builder) follow(source string) (string, fs.FileInfo, error) {
	local := b.local(source)
	p := b.physical(source)
	for range maxLinks {
		st, err := os.Lstat(p)
		if err != nil {
			return "", nil, quotePath(err)
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			return p, st, nil
		}
		target, err := os.Readlink(p)
		if err != nil {
			return "", nil, quotePath(err)
		}
		switch {
		case filepath.IsAbs(target) && local:
			p = target
		case filepath.IsAbs(target):
			p = b.opts.RootOf(b.spec.StoreDir, path.Clean(target)) + target
		default:
			p = filepath.Join(filepath.Dir(p), target)
		}
	}
	return "", nil, fmt.Errorf("%q: too many symlinks", p)
}

// copied reads a source of copyToRoot, which field names, and puts it at its target.
func (b *builder) copied(ctx context.Context, below stack, field string, c spec.Copy, keepDirlinks bool) ([]*tree.Entry, error) {
	if c.Content != nil {
		return b.written(below, field, c)
	}
	entries, err := b.sourceEntries(ctx, field, c, keepDirlinks)
	if err != nil {
		return nil, err
	}
	target := copyTarget(c, entries)
	idle := func(glob string) { b.warnIdle(field, c.Source, glob, entries) }
	placed, err := tree.Copy{Target: target, Mode: c.Mode, Exclude: c.Exclude, Idle: idle, InPlace: true}.Apply(entries)
	if err != nil {
		return nil, err
	}
	if root := placed[0]; root.Path == "." && c.Mode == nil {
		root.Mode, root.UID, root.GID, root.Uname, root.Implied = 0o755, 0, 0, "", true
	}
	keepBelow(below, placed, c)
	return placed, nil
}

// sourceEntries reads a source, with its owners in the image.
func (b *builder) sourceEntries(ctx context.Context, field string, c spec.Copy, keepDirlinks bool) ([]*tree.Entry, error) {
	if ref, ok := b.spec.ImageSource(c); ok {
		entries, err := b.fromImage(ctx, field, c, ref)
		if err == nil {
			entries, err = b.ignore(ctx, field, entries, c, true) // what is in an image is no secret of this machine
		}
		if err != nil || c.Owner == nil {
			return entries, err
		}
		return entries, b.chown(field, entries, c, true)
	}
	p, st, err := b.follow(c.Source)
	if err != nil {
		return nil, err
	}
	b.debugf("%s: reading %q", field, p)
	_, _, inStore := nixstore.InStore(b.spec.StoreDir, c.Source)
	entries, err := b.read(ctx, p, st, tree.DirOptions{Xattrs: true, Store: inStore}, keepDirlinks)
	if err != nil {
		return nil, err
	}
	if entries, err = b.ignore(ctx, field, entries, c, inStore); err != nil {
		return nil, err
	}
	if c.HardLinks {
		if !st.IsDir() {
			return nil, fmt.Errorf("hardLinks: true is for directories, and %q is none: a tarball's hard links are kept without it", c.Source)
		}
		tree.LinkByInode(entries)
	}
	if err := b.chown(field, entries, c, st.Mode().IsRegular() && isTarball(p)); err != nil {
		return nil, err
	}
	return entries, nil
}

// written returns the file whose text the spec has, at its target.
func (b *builder) written(below stack, field string, c spec.Copy) ([]*tree.Entry, error) {
	file := tree.NewFile(".", 0o644, *c.Content)
	file.Source = field
	entries := []*tree.Entry{file}
	if err := b.chown(field, entries, c, false); err != nil {
		return nil, err
	}
	placed, err := tree.Copy{Target: c.Target, Mode: c.Mode, InPlace: true}.Apply(entries)
	keepBelow(below, placed, c)
	return placed, err
}

// chown gives copied files their owner, which is never the machine's, and the
// tarball's only on request. In an image of a single layer, uid and gid own what is
// copied but not what is in the store, as in nixpkgs' buildImage.
func (b *builder) chown(field string, entries []*tree.Entry, c spec.Copy, tarball bool) error {
	owner := spec.Owner{}
	switch {
	case c.Owner != nil && c.Owner.Keep:
		if !tarball {
			return fmt.Errorf("owner: keep is for tarballs, and %q is none: its owners are those of this machine", c.Source)
		}
		return nil
	case c.Owner != nil:
		owner = *c.Owner
	case b.spec.Layering == spec.Single:
		owner = spec.Owner{UID: b.spec.UID, GID: b.spec.GID}
	}
	tree.Chown(entries, owner.UID, owner.GID)
	if owner.Named() {
		b.nameOwner(field, entries, owner)
	}
	return nil
}

// keepBelow makes the directories of a copy keep the attributes that they have in a
// lower layer: copying something into /etc is not to change /etc itself. A mode
// that the spec gives the copy's target stands.
func keepBelow(below stack, entries []*tree.Entry, c spec.Copy) {
	target := strings.Trim(c.Target, "/")
	for _, e := range entries {
		if e.Type != tree.Dir || c.Mode != nil && e.Path == target {
			continue
		}
		// It may be a symlink to a directory there, for which "/." stands.
		if there := tree.Lookup(below.entries, e.Path+"/."); there != nil && there.Type == tree.Dir {
			e.Implied = true
		}
	}
}

// copyTarget returns where a source goes: a directory's files to the target, a file
// to the target itself, or into it if that ends in a slash.
func copyTarget(c spec.Copy, entries []*tree.Entry) string {
	target := c.Target
	if target == "" {
		target = "/"
	}
	if len(entries) > 0 && entries[0].Type != tree.Dir && strings.HasSuffix(target, "/") {
		return target + strings.TrimSuffix(path.Base(c.Source), narSuffix)
	}
	return target
}

// narSuffix ends the names of Nix archives, which are unpacked like tarballs.
const narSuffix = ".nar"

// read reads a directory, a tarball, a Nix archive or a file.
func (b *builder) read(ctx context.Context, p string, st fs.FileInfo, opts tree.DirOptions, keepDirlinks bool) ([]*tree.Entry, error) {
	switch {
	case st.IsDir() && !keepDirlinks:
		return tree.Collect(tree.CopyDirlinks(ctx, p, tree.DirlinkOptions{StoreDir: b.spec.StoreDir, Root: b.opts.storeRoot(), Xattrs: opts.Xattrs}))
	case st.Mode().IsRegular() && strings.HasSuffix(p, narSuffix):
		a, err := nar.Open(ctx, p)
		if err != nil {
			return nil, &dataError{err}
		}
		b.closers = append(b.closers, a)
		entries := a.Entries
		a.Entries = nil // not needed as long as the archive
		return entries, nil
	case st.Mode().IsRegular() && isTarball(p):
		t, err := tree.OpenTar(ctx, p, tree.TarOptions{TempDir: b.opts.TempDir, MaxBytes: b.opts.MaxUnpacked, MaxEntries: b.opts.MaxEntries})
		if err != nil {
			return nil, &dataError{err}
		}
		b.closers = append(b.closers, t)
		entries := t.Entries
		t.Entries = nil
		return entries, nil
	}
	return tree.Collect(tree.FromDir(p, opts))
}

// isTarball reports, by its name, whether a file is to be unpacked. The content
// alone would not do: a compressed file may be meant to be copied as it is.
func isTarball(name string) bool {
	_, ok := compress.TarName(name)
	return ok
}

// merge merges the sources as the spec says.
func (b *builder) merge(ctx context.Context, keepDirlinks bool, sources ...[]*tree.Entry) ([]*tree.Entry, error) {
	return tree.Merge(ctx, tree.MergeOptions{Conflicts: conflicts(b.spec.Conflicts), KeepDirlinks: keepDirlinks}, sources...)
}

func conflicts(c spec.Conflicts) tree.Conflicts {
	switch c {
	case spec.ConflictsFirst:
		return tree.ConflictFirst
	case spec.ConflictsLast:
		return tree.ConflictLast
	}
	return tree.ConflictError
}

// copies reads several sources of copyToRoot and reports all that cannot be read.
func (b *builder) copies(ctx context.Context, below stack, field string, list []spec.Copy, keepDirlinks bool) ([][]*tree.Entry, error) {
	var sources [][]*tree.Entry
	var errs []error
	for i, c := range list {
		item := fmt.Sprintf("%s[%d]", field, i)
		matched, err := b.matched(ctx, c)
		if err != nil {
			errs = append(errs, specError(item, err))
		}
		for _, c := range matched {
			entries, err := b.copied(ctx, below, item, c, keepDirlinks)
			if err != nil {
				errs = append(errs, specError(item, err))
				continue
			}
			sources = append(sources, entries)
		}
	}
	return sources, errors.Join(errs...)
}
