package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/treefile"
)

func newExport(e *environment) *cobra.Command {
	c := newCommand(e)
	var output string
	cmd := &cobra.Command{
		Use:   "export IMAGE -o FILE.tar|DIR/",
		Short: "Write an image's root file system as a tar or a directory, as nixpkgs' exportImage does",
		Long: `export writes the file system that an image's layers add up to, with deletions applied, as
one tar or as a directory. Times are those in the image, or SOURCE_DATE_EPOCH if that is
set. IMAGE is what inspect takes.

A tar has sorted names that begin with ./, hard links as separate files, and the image's
owners and modes, whoever runs varve.

A directory must be new or empty, and appears whole. Root gets everything that is in the
image. For other users, owners, devices and capabilities are left out, and so are
set-user-id bits, which mean nothing without the owner. varve reports what it left out.`,
		Example: `  varve export hello.tar -o rootfs.tar
  varve export hello.tar -o rootfs/
  varve export docker-daemon:debian:12 -o - | tar tv`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, c.completeImage),
		RunE: c.run(func(ctx context.Context, args []string) error {
			dest, err := c.treeOutput(output)
			if err != nil {
				return err
			}
			epoch, err := c.sourceDateEpoch()
			if err != nil {
				return err
			}
			return runExport(ctx, c, args[0], dest, epoch)
		}),
	}
	registerTreeOutput(cmd, &output)
	c.registerRead(cmd)
	return cmd
}

// runExport writes an image's file system. An epoch, if given, is the time of all files.
func runExport(ctx context.Context, c *command, ref string, dest *treefile.Output, epoch *int64) error {
	found, err := c.openOne(ctx, ref)
	if err != nil {
		return err
	}
	if err := c.dockerTools().Export(ctx, found.Stored, dest, epoch); err != nil {
		return fmt.Errorf("export %q to %q: %w", ref, dest.Path, err)
	}
	return nil
}

// sourceDateEpoch returns the environment's SOURCE_DATE_EPOCH, or nil.
func (c *command) sourceDateEpoch() (*int64, error) {
	text, ok := c.streams.LookupEnv("SOURCE_DATE_EPOCH")
	if !ok || text == "" {
		return nil, nil
	}
	epoch, err := assemble.ParseSourceDateEpoch(text)
	return &epoch, cmdline.Usage(err)
}
