package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/treefile"
	"github.com/varve-image/varve/tree"
)

// registerTreeOutput adds the flag of the commands that write a tree.
func registerTreeOutput(cmd *cobra.Command, output *string) {
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(output, "output", "o", "", "write to `FILE|DIR/`: a tar, compressed as its name says, or a directory; - is standard output")
	})
}

// archiveOutput returns the output for an archive, compressed as its name says.
func (c *command) archiveOutput(path string) (*treefile.Output, error) {
	if path == "" {
		return nil, cmdline.Usage(cmdline.Hint(errors.New("no output"), "name a file with -o, or - for standard output"))
	}
	algorithm, ok := place.ArchiveCompression(path)
	if !ok && path != "-" {
		return nil, cmdline.Usage(fmt.Errorf("output %q: expected a name that ends in .tar, .tar.gz or .tar.zst, or -", path))
	}
	out := &treefile.Output{Path: path, Compression: compress.Compression{Algorithm: algorithm}}
	if path == "-" {
		out.Compression.Algorithm, out.Stdout = compress.None, cmdline.Stdout{W: c.streams.Out}
	}
	return out, nil
}

// treeOutput returns the output for a tar, or a directory.
func (c *command) treeOutput(path string) (*treefile.Output, error) {
	if strings.HasSuffix(path, "/") {
		return &treefile.Output{Path: path}, nil
	}
	out, err := c.archiveOutput(path)
	if err != nil && path != "" {
		return nil, cmdline.Usage(fmt.Errorf("output %q: expected a name that ends in .tar, .tar.gz or .tar.zst, a directory, which ends in /, or -", path))
	}
	return out, err
}

// warnOmitted warns of what a directory lacks.
func (c *command) warnOmitted(dir string, what []tree.Omitted) {
	c.ui.Warn("%s lacks what this user or the file system cannot have: %s; a tar (-o FILE.tar) has it all", dir, treefile.Lacks(what))
}
