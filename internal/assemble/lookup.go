package assemble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
)

// lookUp finds the closure of the roots if the spec names no file that has it: in
// the store's database, if that has all roots; with Nix's own programs, if the
// database cannot be read; else by searching the store paths. vouched says that it was Nix that
// gave the hashes.
func (b *builder) lookUp(ctx context.Context, roots []string) (infos []nixstore.PathInfo, vouched bool, err error) {
	infos, err = b.storeClosure(ctx, roots)
	var invalid *nixstate.InvalidError
	switch {
	case err == nil:
		b.debugf("closure: asked the store's database")
		return infos, true, nil
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &invalid):
	default:
		infos, askErr := b.askNix(ctx, roots)
		if askErr == nil {
			b.debugf("closure: asked Nix, since the store's database cannot be read: %v", err)
			return infos, true, nil
		}
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		b.notes = append(b.notes, fmt.Sprintf("the store paths are searched for references, since Nix cannot be asked for them: %v; %v", err, askErr))
	}
	b.debugf("closure: searching the store paths: %v", err)
	opts := b.scanOptions(roots)
	opts.Hashes = b.spec.IncludeNixDB
	infos, err = nixstore.Scan(ctx, opts)
	return infos, false, specError("contents", err)
}

// errNoDatabases is the error of a program that reads no Nix databases.
var errNoDatabases = errors.New("this program reads no Nix databases")

// storeClosure asks the store's database.
func (b *builder) storeClosure(ctx context.Context, roots []string) ([]nixstore.PathInfo, error) {
	if b.opts.Databases == nil {
		return nil, errNoDatabases
	}
	return b.opts.Databases.Closure(ctx, nixstate.Store{StoreDir: b.spec.StoreDir, Root: b.opts.storeRoot(), TempDir: b.opts.TempDir}, roots)
}

// askNix gets the closure from Nix's own programs. They would write to a store that
// they have not written to before, so they are asked about the machine's own store
// only.
func (b *builder) askNix(ctx context.Context, roots []string) ([]nixstore.PathInfo, error) {
	if b.opts.storeRoot() != "" {
		return nil, errors.New("Nix's programs are not asked below another root")
	}
	defer tally.Begin(ctx, "asking Nix", "", 0).End()
	return nixstore.Ask(ctx, b.spec.StoreDir, roots)
}

// StoreError says that the files of store paths differ from what was recorded.
type StoreError struct {
	Err error
}

func (e *StoreError) Error() string { return "verify store paths: " + e.Err.Error() }

func (e *StoreError) Unwrap() error { return e.Err }

// Is reports whether target is layer.ErrMismatch.
func (e *StoreError) Is(target error) bool { return target == layer.ErrMismatch }

// checkArchive compares the archive of a path's files with the recorded hash and
// size, each if it is known.
func checkArchive(got, recorded nixstore.PathInfo) error {
	switch {
	case recorded.NarHash != "" && got.NarHash != recorded.NarHash:
		return fmt.Errorf("path %q has files with the NAR hash %s, and %s is recorded: repair it, as \"nix-store --repair-path\" does", got.Path, got.NarHash, recorded.NarHash)
	case recorded.NarSize != 0 && got.NarSize != recorded.NarSize:
		return fmt.Errorf("path %q has files with a NAR of %d bytes, and the narSize %d is recorded: correct what the closure or the database says", got.Path, got.NarSize, recorded.NarSize)
	}
	return nil
}

// verifyStore compares the closure's files with the hashes and sizes that its
// source records.
func (b *builder) verifyStore(ctx context.Context, needed *closure) error {
	if !b.opts.VerifyStore || needed.graph == nil {
		return nil
	}
	var bad problems.List
	for _, p := range needed.paths() {
		if needed.infos[p].NarHash == "" {
			bad.Addf("path %q: no NAR hash is known that its files could be compared with; give a closure that has hashes, or a Nix database", p)
		}
	}
	if err := bad.Err(); err != nil {
		return specError("closure", err)
	}
	defer tally.Begin(ctx, "verifying store paths", "", 0).End()
	hashed, err := nixstore.HashPaths(ctx, b.scanOptions(needed.paths()))
	if err != nil {
		return err
	}
	for _, h := range hashed {
		if err := checkArchive(h, needed.infos[h.Path]); err != nil {
			bad.Add(err)
		}
	}
	if err := bad.Err(); err != nil {
		return &StoreError{err}
	}
	return nil
}
