// Package nixdb reads and makes the databases that Nix keeps of its stores, with
// SQLite.
//
// Guarantees:
//
//   - A database is a function of its paths alone: the same paths give the same
//     bytes, whatever their order, the machine and the version of Nix that it
//     has, if any. No journal is beside it.
//   - It is whole: every reference is to a path that is in it.
//   - Reading takes any input: it is bounded, nothing that the database says is
//     carried out (views, triggers, checks), and what is wrong is an error that
//     names it.
//
// Non-goals: changing a database in place, and Nix's experimental tables
// (Realisations of content-addressed derivations).
package nixdb

import (
	"context"
	"io"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
)

// SQLite is nixstate.Databases.
type SQLite struct{}

// Closure asks the database of a store on this machine. Nothing is written where it is, and a
// write-ahead log beside it counts.
func (SQLite) Closure(ctx context.Context, s nixstate.Store, roots []string) ([]nixstore.PathInfo, error) {
	return storeClosure(ctx, s, roots)
}

// Read reads a database of an image.
func (SQLite) Read(ctx context.Context, storeDir string, data, journal []byte) ([]nixstate.Path, error) {
	return decode(ctx, storeDir, data, journal)
}

// Write writes the database of paths.
func (SQLite) Write(ctx context.Context, w io.Writer, paths []nixstate.Path) error {
	return Write(ctx, w, paths)
}
