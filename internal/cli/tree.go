package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cmdline"
)

func newTree(e *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Work with trees of files that are not in an image",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newTreeMerge(e))
	return cmd
}

func newTreeMerge(e *environment) *cobra.Command {
	c := newCommand(e)
	var output string
	cmd := &cobra.Command{
		Use:   "merge SRC... -o FILE.tar|DIR/",
		Short: "Merge directories and tarballs into one tree, as nixpkgs' mergeDrvs does",
		Long: `merge lays directories and tarballs over one another, later ones over earlier ones. Where a
later one has a directory and an earlier one a symlink to a directory, the files go to
where the symlink leads. In all other cases the later entry replaces the earlier one, with
everything below it.

Files from directories are owned by root, those from tarballs as the tarball says. Times
are SOURCE_DATE_EPOCH if that is set, or else 1970-01-01T00:00:01Z. The output is as for
export.`,
		Example: `  varve tree merge base.tar ./overrides -o rootfs.tar
  varve tree merge one/ two.tar.gz -o both/`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(true, cmdline.CompleteFiles),
		RunE:              c.run(func(ctx context.Context, args []string) error { return runTreeMerge(ctx, c, args, output) }),
	}
	registerTreeOutput(cmd, &output)
	c.limits.register(cmd)
	return cmd
}

func runTreeMerge(ctx context.Context, c *command, sources []string, output string) error {
	dest, err := c.treeOutput(output)
	if err != nil {
		return err
	}
	if err := cmdline.OutsideOf(dest.Path, sources, "is merged"); err != nil {
		return err
	}
	epoch, err := c.sourceDateEpoch()
	if err != nil {
		return err
	}
	return c.dockerTools().MergeTrees(ctx, sources, dest, epoch)
}
