// Package treefile reads trees of files from directories and tarballs, and writes them as
// such.
//
// Guarantees:
//
//   - What is written appears whole, or not at all, unless it goes to standard output.
//   - A tar has names "./…" in the tree's order, and owners and modes as the tree has them,
//     whoever writes it.
//
// Non-goals: the layers of images, whose bytes package layer promises; what is in a tree.
package treefile

import (
	"context"
	"io"
	"strings"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// Output is a tar, or a directory.
type Output struct {
	// Path ends in a slash for a directory.
	Path string
	// Compression is the tar's compression.
	Compression compress.Compression
	// Stdout, if set, gets the tar instead.
	Stdout io.Writer
}

// IsDir reports whether the output is a directory rather than a tar.
func (o *Output) IsDir() bool { return strings.HasSuffix(o.Path, "/") }

// Write writes a tree. opts apply to a directory; Write returns what the directory lacks.
func (o *Output) Write(ctx context.Context, entries []*tree.Entry, opts tree.WriteOptions) ([]tree.Omitted, error) {
	if o.IsDir() {
		return o.writeDir(ctx, entries, opts)
	}
	return nil, o.file(func(w io.Writer) error {
		return o.Compression.Fill(ctx, w, func(w io.Writer) error { return writeTar(ctx, w, entries) })
	})
}

func (o *Output) file(fill func(io.Writer) error) error {
	if o.Stdout != nil {
		return fill(o.Stdout)
	}
	return atomicfile.Output(o.Path)(fill)
}

func writeTar(ctx context.Context, w io.Writer, entries []*tree.Entry) error {
	out := layer.NewWriter(w, layer.GNU, "./")
	for _, e := range entries {
		if err := out.Write(ctx, e); err != nil {
			return err
		}
	}
	return out.Close()
}

func (o *Output) writeDir(ctx context.Context, entries []*tree.Entry, opts tree.WriteOptions) ([]tree.Omitted, error) {
	dir, err := atomicfile.CreateDir(o.Path)
	if err != nil {
		return nil, err
	}
	defer dir.Abort()
	omitted, err := tree.WriteDir(ctx, dir.Root, entries, opts)
	if err != nil {
		return nil, err
	}
	return omitted, dir.Commit()
}
