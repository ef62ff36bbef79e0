// Package nixstate makes the state that Nix keeps of a store, as files of an image: the
// database of valid paths, and the garbage collector's roots.
//
// Guarantees:
//
//   - The state is a function of the paths and of the file system that it goes on.
//   - The size of a base image's database is limited, and a fault in it is an
//     error that names it.
//
// Non-goals: the format of databases, which is SQLite's. Package nixdb implements
// it and is passed in as Databases, so that programs that do not use it do not
// link SQLite.
package nixstate

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/varve-image/varve/internal/nixstore"
)

// SchemaVersion is the version of the schema, as stated in the file "schema" beside
// the database.
const SchemaVersion = "10"

// Path is a valid path.
type Path struct {
	nixstore.PathInfo
	// Outputs are the outputs of a derivation, a path that ends in ".drv", as far
	// as it says what their paths are.
	Outputs []Output
}

// Output is an output of a derivation.
type Output struct {
	Name, Path string
}

// Databases reads and makes Nix's databases. nixdb.SQLite implements it.
type Databases interface {
	// Closure returns what the database of a store on this machine says about roots and
	// everything they refer to, sorted by path. Without a database the error is
	// fs.ErrNotExist; a root that it does not have is an *InvalidError.
	Closure(ctx context.Context, s Store, roots []string) ([]nixstore.PathInfo, error)
	// Read returns the paths of the database whose file is data, sorted. Store paths have to
	// lie in storeDir. journal is the write-ahead log beside it, or nil. Both are changed.
	Read(ctx context.Context, storeDir string, data, journal []byte) ([]Path, error)
	// Write writes the database of paths. No path may be given twice, and each
	// reference has to be to one of them.
	Write(ctx context.Context, w io.Writer, paths []Path) error
}

// Store is a Nix store on this machine.
type Store struct {
	// StoreDir is the store directory as store paths name it; empty for
	// nixstore.DefaultStoreDir.
	StoreDir string
	// Root is the directory under which the store and its state are looked up, as
	// for Nix's "local?root="; empty means the machine's own root. No symlink below
	// it may lead out of it.
	Root string
	// TempDir is where a database that cannot be read in place is copied to; empty
	// means the system's directory for temporary files.
	TempDir string
}

// InvalidError says which paths a store's database does not have.
type InvalidError struct {
	Paths []string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%d of the store paths are not valid by the database, such as %.300q", len(e.Paths), e.Paths[0])
}

// registered holds the argument of Register.
var registered atomic.Pointer[Databases]

// Register makes Registered return databases. A program that imports varve calls it through
// package nix/sqlite; the command does not need it.
func Register(d Databases) { registered.Store(&d) }

// Registered returns the databases that were registered, or nil.
func Registered() Databases {
	if d := registered.Load(); d != nil {
		return *d
	}
	return nil
}
