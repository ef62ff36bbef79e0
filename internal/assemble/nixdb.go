package assemble

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/drv"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/tree"
)

// nixDBField is the field of the spec that requests the database.
const nixDBField = "includeNixDB"

// settleStore runs the scripts that work on the top tree, and finds the closure of
// the result. Nix's state is there before them, and is updated with what they
// added.
func (b *builder) settleStore(ctx context.Context, below stack, groups []*group, top []*tree.Entry) (_ []*tree.Entry, needed *closure, err error) {
	s := b.spec
	var before *closure
	var database *nixstate.File
	if s.IncludeNixDB && (s.ExtraCommands != "" || s.FakeRootCommands != "") {
		if before, err = b.findClosure(ctx, below, groups, top); err != nil {
			return nil, nil, err
		}
		if top, database, err = b.addNixState(ctx, below, before, top); err != nil {
			return nil, nil, err
		}
	}
	if top, err = b.runOnTree(ctx, below.base, top); err != nil {
		return nil, nil, err
	}
	searched := top
	if database != nil {
		searched = b.withoutDatabase(top)
	}
	if needed, err = b.findClosure(ctx, below, groups, searched); err != nil {
		return nil, nil, err
	}
	switch {
	case !s.IncludeNixDB:
	case database == nil:
		top, _, err = b.addNixState(ctx, below, needed, top)
	case !slices.Equal(before.paths(), needed.paths()):
		top, err = b.updateNixState(ctx, below, database, needed, top)
	}
	if !s.IncludeStorePaths {
		needed = &closure{} // it was only needed for the database
	}
	return top, needed, err
}

// addNixState adds Nix's state to the top tree, as a source after all others.
func (b *builder) addNixState(ctx context.Context, below stack, c *closure, top []*tree.Entry) ([]*tree.Entry, *nixstate.File, error) {
	state, database, err := b.makeNixState(ctx, below, c)
	if err != nil {
		return nil, nil, err
	}
	top, err = b.merge(ctx, false, top, state)
	return top, database, specError("conflicts", err)
}

// updateNixState puts the state of another closure into a top tree that scripts
// have changed. The database becomes the new one, with the attributes that the
// scripts gave it, unless they changed old, the database itself. Roots are added.
func (b *builder) updateNixState(ctx context.Context, below stack, old *nixstate.File, c *closure, top []*tree.Entry) ([]*tree.Entry, error) {
	e := tree.Find(top, nixstate.Place(b.spec.StoreDir))
	if e == nil {
		return top, nil
	}
	same, err := old.Is(ctx, e)
	if err != nil || !same {
		return top, err
	}
	state, database, err := b.makeNixState(ctx, below, c)
	if err != nil {
		return nil, err
	}
	e.SetContent(database.Size(), database)
	return tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictFirst}, top, state)
}

// makeNixState makes Nix's state for a closure: what Nix has to know about the
// store paths in the image.
func (b *builder) makeNixState(ctx context.Context, below stack, c *closure) ([]*tree.Entry, *nixstate.File, error) {
	if b.opts.Databases == nil {
		return nil, nil, &SpecError{nixDBField, errors.New("this program makes no Nix databases")}
	}
	paths, err := b.validPaths(ctx, below.base, c)
	if err != nil {
		return nil, nil, err
	}
	database, err := nixstate.Create(ctx, b.opts.Databases, b.opts.TempDir, paths)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", nixDBField, err)
	}
	b.closers = append(b.closers, database)
	uid, gid := b.storeOwner()
	state, err := nixstate.State{StoreDir: b.spec.StoreDir, Database: database, Roots: c.roots, UID: uid, GID: gid, Below: below.entries}.Tree(nixDBField)
	return state, database, err
}

// withoutDatabase leaves the image's own database out of the search for store
// paths: it names derivers, and everything in the base image.
func (b *builder) withoutDatabase(top []*tree.Entry) []*tree.Entry {
	return slices.DeleteFunc(slices.Clone(top), func(e *tree.Entry) bool { return e.Path == nixstate.Place(b.spec.StoreDir) })
}

// validPaths returns the paths that Nix is to find in the image's store: those of
// the closure, and those in the base's database.
func (b *builder) validPaths(ctx context.Context, base *base, c *closure) ([]nixstate.Path, error) {
	if err := b.hashArchives(ctx, c); err != nil {
		return nil, err
	}
	var own []nixstate.Path
	for _, p := range c.paths() {
		info := c.infos[p]
		info.RegistrationTime, info.Ultimate = b.spec.TreeMTime, false
		outputs, err := b.outputsOf(p)
		if err != nil {
			return nil, specError(nixDBField, err)
		}
		own = append(own, nixstate.Path{PathInfo: info, Outputs: outputs})
	}
	if base == nil {
		return own, nil
	}
	lower, err := nixstate.ReadTree(ctx, b.opts.Databases, b.spec.StoreDir, base.entries)
	if err != nil {
		return nil, fmt.Errorf("fromImage: base image %q: %w", b.spec.FromImage, err)
	}
	paths, err := nixstate.Merge(lower, own)
	return paths, specError(nixDBField, err)
}

// outputsOf returns the outputs of a store path that is a derivation.
func (b *builder) outputsOf(p string) ([]nixstate.Output, error) {
	if !strings.HasSuffix(p, ".drv") {
		return nil, nil
	}
	d, err := drv.Read(b.spec.StoreDir, b.opts.storeRoot(), p)
	if err != nil {
		return nil, err
	}
	var outputs []nixstate.Output
	for _, o := range d.Outputs {
		if o.Path != "" {
			outputs = append(outputs, nixstate.Output{Name: o.Name, Path: o.Path})
		}
	}
	return outputs, nil
}

// hashArchives fills in the hashes and sizes that the closure's source does not know.
func (b *builder) hashArchives(ctx context.Context, c *closure) error {
	var unknown []string
	for _, p := range c.paths() {
		if info := c.infos[p]; info.NarHash == "" || info.NarSize == 0 {
			unknown = append(unknown, p)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	hashed, err := nixstore.HashPaths(ctx, b.scanOptions(unknown))
	if err != nil {
		return specError(nixDBField, err)
	}
	for _, h := range hashed {
		info := c.infos[h.Path]
		if err := checkArchive(h, info); err != nil {
			return &StoreError{err}
		}
		info.NarHash, info.NarSize = h.NarHash, h.NarSize
		c.infos[h.Path] = info
	}
	return nil
}
