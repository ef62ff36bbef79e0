package assemble

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/drv"
	"github.com/varve-image/varve/internal/nixstore/nixdb"
	"github.com/varve-image/varve/tree"
)

// nixDBField is the field of the spec that asks for all of this.
const nixDBField = "includeNixDB"

// nixState is what Nix has to know of the store paths in the image.
type nixState struct {
	database *nixdb.File
	// paths are the closure that it was made of.
	paths []string
}

// settleStore runs the scripts that work on the top tree, and finds the closure
// of what is there then. Nix's state is there before them, and is brought up
// to date with what they added.
func (b *builder) settleStore(contents []content, groups []*group, top []*tree.Entry) (_ []*tree.Entry, err error) {
	s := b.spec
	if s.IncludeNixDB && (s.ExtraCommands != "" || s.FakeRootCommands != "") {
		if err := b.findClosure(contents, groups, top); err != nil {
			return nil, err
		}
		if top, err = b.addNixState(top); err != nil {
			return nil, err
		}
	}
	if top, err = b.runOnTree(top); err != nil {
		return nil, err
	}
	if err := b.findClosure(contents, groups, top); err != nil {
		return nil, err
	}
	switch {
	case !s.IncludeNixDB:
	case b.nix == nil:
		top, err = b.addNixState(top)
	case !slices.Equal(b.nix.paths, b.closurePaths()):
		top, err = b.updateNixState(top)
	}
	if !s.IncludeStorePaths {
		b.closure = nil // it was looked for because of the database alone
	}
	return top, err
}

// addNixState adds Nix's state to the top tree, as a source that comes after
// all others.
func (b *builder) addNixState(top []*tree.Entry) ([]*tree.Entry, error) {
	state, err := b.makeNixState()
	if err != nil {
		return nil, err
	}
	top, err = b.merge(false, top, state)
	return top, specError("conflicts", err)
}

// updateNixState puts the state of another closure into a top tree that scripts
// have changed: unless they changed the database itself, it is the new one, with
// the attributes that they gave it. Roots are added.
func (b *builder) updateNixState(top []*tree.Entry) ([]*tree.Entry, error) {
	old := b.nix.database
	e := tree.Find(top, nixdb.Place(b.spec.StoreDir))
	if e == nil {
		return top, nil
	}
	same, err := old.Is(b.ctx, e)
	if err != nil || !same {
		return top, err
	}
	state, err := b.makeNixState()
	if err != nil {
		return nil, err
	}
	e.Size, e.Open = b.nix.database.Size(), b.nix.database.Open
	return tree.Merge(b.ctx, tree.MergeOptions{Conflicts: tree.ConflictFirst}, top, state)
}

// makeNixState makes the state of Nix for the closure.
func (b *builder) makeNixState() ([]*tree.Entry, error) {
	paths, err := b.validPaths()
	if err != nil {
		return nil, err
	}
	database, err := nixdb.Create(b.ctx, b.opts.TempDir, paths)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", nixDBField, err)
	}
	b.result.closers = append(b.result.closers, database)
	b.nix = &nixState{database, b.closurePaths()}
	uid, gid := b.storeOwner()
	return nixdb.State{StoreDir: b.spec.StoreDir, Database: database, Roots: b.roots, UID: uid, GID: gid, Below: b.below}.Tree(nixDBField)
}

// withoutDatabase leaves the image's own database out of what is searched for
// store paths: it names derivers, and all that the base image has.
func (b *builder) withoutDatabase(top []*tree.Entry) []*tree.Entry {
	if b.nix == nil {
		return top
	}
	return slices.DeleteFunc(slices.Clone(top), func(e *tree.Entry) bool { return e.Path == nixdb.Place(b.spec.StoreDir) })
}

// validPaths are the paths that Nix is to find in the image's store: those of
// the closure, and what the base's database has.
func (b *builder) validPaths() ([]nixdb.Path, error) {
	if err := b.hashArchives(); err != nil {
		return nil, err
	}
	var own []nixdb.Path
	for _, p := range b.closurePaths() {
		info := b.infos[p]
		info.RegistrationTime, info.Ultimate = b.spec.TreeMTime, false
		outputs, err := b.outputsOf(p)
		if err != nil {
			return nil, specError(nixDBField, err)
		}
		own = append(own, nixdb.Path{PathInfo: info, Outputs: outputs})
	}
	if b.base == nil {
		return own, nil
	}
	lower, err := nixdb.ReadTree(b.ctx, b.spec.StoreDir, b.base.entries)
	if err != nil {
		return nil, fmt.Errorf("fromImage: base image %q: %w", b.spec.FromImage, err)
	}
	paths, err := nixdb.Merge(lower, own)
	return paths, specError(nixDBField, err)
}

// outputsOf are the outputs of a store path that is a derivation.
func (b *builder) outputsOf(p string) ([]nixdb.Output, error) {
	if !strings.HasSuffix(p, ".drv") {
		return nil, nil
	}
	d, err := drv.Read(b.spec.StoreDir, b.opts.storeRoot(), p)
	if err != nil {
		return nil, err
	}
	var outputs []nixdb.Output
	for _, o := range d.Outputs {
		if o.Path != "" {
			outputs = append(outputs, nixdb.Output{Name: o.Name, Path: o.Path})
		}
	}
	return outputs, nil
}

// hashArchives fills in the hashes and sizes that the closure's source does not
// know.
func (b *builder) hashArchives() error {
	var unknown []string
	for _, p := range b.closurePaths() {
		if info := b.infos[p]; info.NarHash == "" || info.NarSize == 0 {
			unknown = append(unknown, p)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	hashed, err := nixstore.HashPaths(b.ctx, nixstore.ScanOptions{StoreDir: b.spec.StoreDir, Root: b.opts.storeRoot(), Roots: unknown})
	if err != nil {
		return specError(nixDBField, err)
	}
	for _, h := range hashed {
		info := b.infos[h.Path]
		if err := checkArchive(h, info); err != nil {
			return &StoreError{err}
		}
		info.NarHash, info.NarSize = h.NarHash, h.NarSize
		b.infos[h.Path] = info
	}
	return nil
}
