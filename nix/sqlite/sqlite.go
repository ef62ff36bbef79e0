// Package sqlite lets a program that imports varve read and make Nix's databases, which are
// SQLite's: for specs with includeNixDB, and to find out from a store's database which paths
// refer to which. It is a package of its own because SQLite is large: 9 MB of a program, and
// a minute of its first compilation. Without it, Nix's own programs are asked.
package sqlite

import (
	"github.com/varve-image/varve/internal/nixstore/nixdb"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
)

// Enable makes all builds of the program use SQLite. Call it once, in main.
func Enable() { nixstate.Register(nixdb.SQLite{}) }
