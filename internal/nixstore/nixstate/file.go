package nixstate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/tree"
)

// File is a database in a file without a name.
type File struct {
	f    *os.File
	size int64
}

// Create writes the database of paths, as db does, into a file without a name in
// the directory temp, or in the system's directory for temporary files if that is
// empty. The caller must close the result.
func Create(ctx context.Context, db Databases, temp string, paths []Path) (*File, error) {
	f, err := atomicfile.Unnamed(temp)
	if err != nil {
		return nil, fmt.Errorf("make a temporary file for the Nix database: %w", err)
	}
	file := &File{f: f}
	if err = db.Write(ctx, f, paths); err == nil {
		file.size, err = f.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return file, nil
}

// Size returns the database's length in bytes.
func (f *File) Size() int64 { return f.size }

// Open opens the database's content, any number of times until Close.
func (f *File) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(f.f, 0, f.size)), nil
}

// Close frees the database.
func (f *File) Close() error { return f.f.Close() }

// Is reports whether the database is the content of an entry.
func (f *File) Is(ctx context.Context, e *tree.Entry) (bool, error) {
	if e.Type != tree.Regular || e.Size != f.size {
		return false, nil
	}
	r, err := e.Open()
	if err != nil {
		return false, err
	}
	defer r.Close()
	own := bufio.NewReaderSize(io.NewSectionReader(f.f, 0, f.size), 64<<10)
	theirs := bufio.NewReaderSize(ctxio.Reader(ctx, r), 64<<10)
	for range f.size {
		a, err := own.ReadByte()
		if err != nil {
			return false, err
		}
		b, err := theirs.ReadByte()
		if err != nil || a != b {
			return false, err
		}
	}
	return true, nil
}
