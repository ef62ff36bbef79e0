package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cmdline"
)

func newTree(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Work with trees of files that are not in an image",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newTreeMerge(g))
	return cmd
}

func newTreeMerge(g *global) *cobra.Command {
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
		RunE: func(cmd *cobra.Command, args []string) error {
			return runTreeMerge(cmd.Context(), g, args, output)
		},
	}
	registerTreeOutput(cmd, &output)
	g.limits.register(cmd)
	return cmd
}

func runTreeMerge(ctx context.Context, g *global, sources []string, output string) error {
	dest, err := g.treeOutput(output)
	if err != nil {
		return err
	}
	if err := cmdline.OutsideOf(dest.Path, sources, "is merged"); err != nil {
		return err
	}
	epoch, err := g.sourceDateEpoch()
	if err != nil {
		return err
	}
	return g.dockerTools().MergeTrees(ctx, sources, dest, epoch)
}
