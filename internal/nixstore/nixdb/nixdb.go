// Package nixdb makes the state that Nix keeps of a store: the database of
// valid paths, and the garbage collector's roots.
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

import "github.com/varve-image/varve/internal/nixstore"

// Path is a valid path.
type Path struct {
	nixstore.PathInfo
	// Outputs are those of a derivation, which is a path that ends in ".drv",
	// as far as it says what their paths are.
	Outputs []Output
}

// Output is an output of a derivation.
type Output struct {
	Name, Path string
}
