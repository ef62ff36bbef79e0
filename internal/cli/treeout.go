package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// registerTreeOutput adds the flag of the commands that write a tree.
func registerTreeOutput(cmd *cobra.Command, output *string) {
	outputGroup.add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(output, "output", "o", "", "write to `FILE|DIR/`: a tar, compressed as its name says, or a directory; - is standard output")
	})
}

// output is a file, or a directory, that -o names.
type output struct {
	// path ends in a slash for a directory; "-" is standard output.
	path string
	// compression is a file's.
	compression compress.Compression
}

// archiveOutput is an archive, compressed as its name says.
func archiveOutput(path string) (*output, error) {
	if path == "" {
		return nil, usageError(hint(errors.New("no output"), "name a file with -o, or - for standard output"))
	}
	algorithm, ok := place.ArchiveCompression(path)
	if !ok && path != "-" {
		return nil, usageError(fmt.Errorf("output %q: expected a name that ends in .tar, .tar.gz or .tar.zst, or -", path))
	}
	if path == "-" {
		algorithm = compress.None
	}
	return &output{path, compress.Compression{Algorithm: algorithm}}, nil
}

// treeOutput is a tar, or a directory.
func treeOutput(path string) (*output, error) {
	if strings.HasSuffix(path, "/") {
		return &output{path: path}, nil
	}
	out, err := archiveOutput(path)
	if err != nil && path != "" {
		return nil, usageError(fmt.Errorf("output %q: expected a name that ends in .tar, .tar.gz or .tar.zst, a directory, which ends in /, or -", path))
	}
	return out, err
}

// isDir tells the directory from the tar.
func (o *output) isDir() bool { return strings.HasSuffix(o.path, "/") }

// writeTar writes a tree as a tar with names "./…".
func (g *global) writeTar(ctx context.Context, d *output, entries []*tree.Entry) error {
	return g.toFile(d.path, func(w io.Writer) error {
		return compressed(w, d.compression, func(w io.Writer) error {
			out := layer.NewWriter(w, layer.GNU, "./")
			for _, e := range entries {
				if err := out.Write(ctx, e); err != nil {
					return err
				}
			}
			return out.Close()
		})
	})
}

// writeDir writes a tree as a directory.
func (g *global) writeDir(ctx context.Context, d *output, entries []*tree.Entry, opts tree.WriteOptions) error {
	dir, err := atomicfile.CreateDir(d.path)
	if err != nil {
		return err
	}
	defer dir.Abort()
	omitted, err := tree.WriteDir(ctx, dir.Root, entries, opts)
	if err != nil {
		return err
	}
	if err := dir.Commit(); err != nil {
		return err
	}
	if len(omitted) > 0 {
		g.ui.Warn("%s lacks what this user or the file system cannot have: %s; a tar (-o FILE.tar) has it all", d.path, omissions(omitted))
	}
	return nil
}

// omissions tells what a directory lacks.
func omissions(omitted []tree.Omitted) string {
	var parts []string
	for _, o := range omitted {
		e, files := o.Entry, human.Count(o.Count, "file")
		switch o.What {
		case tree.OmittedOwner:
			parts = append(parts, fmt.Sprintf("the owners of %s, such as %d:%d of %q", files, e.UID, e.GID, e.Path))
		case tree.OmittedSetID:
			parts = append(parts, fmt.Sprintf("the set-user-id or set-group-id bits of %s, which would give away your rights instead of the owner's, such as %q", files, e.Path))
		case tree.OmittedXattr:
			parts = append(parts, fmt.Sprintf("extended attributes of %s, such as %q", files, e.Path))
		case tree.OmittedDevice:
			parts = append(parts, fmt.Sprintf("%s, such as %q", human.Count(o.Count, "device"), e.Path))
		}
	}
	return strings.Join(parts, "; ")
}
