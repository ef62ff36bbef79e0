package nixdb

import (
	"context"
	"io"

	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/tree"
)

type (
	Path         = nixstate.Path
	Output       = nixstate.Output
	State        = nixstate.State
	File         = nixstate.File
	InvalidError = nixstate.InvalidError
)

// Store is a store whose database is asked.
type Store nixstate.Store

func (s Store) Closure(ctx context.Context, roots []string) ([]nixstore.PathInfo, error) {
	return SQLite{}.Closure(ctx, nixstate.Store(s), roots)
}

func ReadTree(ctx context.Context, storeDir string, entries []*tree.Entry) ([]Path, error) {
	return nixstate.ReadTree(ctx, SQLite{}, storeDir, entries)
}

func Create(ctx context.Context, temp string, paths []Path) (*File, error) {
	return nixstate.Create(ctx, SQLite{}, temp, paths)
}

// content reads a file of a tree completely.
func content(ctx context.Context, e *tree.Entry, most int64) ([]byte, error) {
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(ctxio.Reader(ctx, r), most))
}
