// Package nixdb reads and makes the databases that Nix keeps of its stores, with
// SQLite.
//
// Guarantees:
//
//   - A database is a function of its paths alone: the same paths give the same
//     bytes, whatever their order, the machine, and its version of Nix, if any.
//     It has no journal.
//   - It is complete: every reference is to a path that is in it.
//   - Reading takes any input: it is limited, nothing in the database is
//     executed (views, triggers, checks), and a fault is an error that names it.
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

// SQLite implements nixstate.Databases.
type SQLite struct{}

// Closure queries the database of a store on this machine. Nothing is written beside it, and
// a write-ahead log beside it counts.
func (SQLite) Closure(ctx context.Context, s nixstate.Store, roots []string) ([]nixstore.PathInfo, error) {
	return storeClosure(ctx, s, roots)
}

// Read reads a database from an image.
func (SQLite) Read(ctx context.Context, storeDir string, data, journal []byte) ([]nixstate.Path, error) {
	return decode(ctx, storeDir, data, journal)
}

// Write writes the database of paths.
func (SQLite) Write(ctx context.Context, w io.Writer, paths []nixstate.Path) error {
	return Write(ctx, w, paths)
}
