package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/tree"
)

func newTree(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Work with file trees that are not in an image",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newTreeMerge(g))
	return cmd
}

func newTreeMerge(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "merge SRC... -o FILE.tar|DIR/",
		Short: "Make one tree of several directories and tarballs, as nixpkgs' mergeDrvs does",
		Long: `merge lays directories and tarballs over one another, later ones over earlier. Where one
has a directory and an earlier one a symlink to a directory, its files go to where that
leads; in any other case the later entry takes the earlier one's place, with all that is
below it.

Files of directories are owned by root, those of tarballs by whom these say. Times are
SOURCE_DATE_EPOCH where that is set, else 1970-01-01T00:00:01Z. The output is as that
of export.`,
		Example: `  varve tree merge base.tar ./overrides -o rootfs.tar
  varve tree merge one/ two.tar.gz -o both/`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeArgs(true, completeFiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runTreeMerge(cmd.Context(), g, args, output)
		},
	}
	registerTreeOutput(cmd, &output)
	g.limits.register(cmd)
	return cmd
}

func runTreeMerge(ctx context.Context, g *global, sources []string, output string) error {
	dest, err := treeOutput(output)
	if err != nil {
		return err
	}
	if err := outsideOf(dest.path, sources, "is merged"); err != nil {
		return err
	}
	epoch, err := g.sourceDateEpoch()
	if err != nil {
		return err
	}
	var trees [][]*tree.Entry
	for _, source := range sources {
		entries, closer, err := readTree(ctx, g, source)
		if err != nil {
			return err
		}
		defer closer.Close()
		trees = append(trees, entries)
	}
	merged, err := tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictLast, KeepDirlinks: true}, trees...)
	if err != nil {
		return err
	}
	for _, e := range merged {
		if e.ModTime = 1; epoch != nil {
			e.ModTime = *epoch
		}
	}
	if dest.isDir() {
		err = g.writeDir(ctx, dest, merged, tree.WriteOptions{})
	} else {
		err = g.writeTar(ctx, dest, merged)
	}
	if err != nil {
		return fmt.Errorf("write tree to %q: %w", dest.path, err)
	}
	return nil
}

// readTree reads a directory or a tarball. What it returns is open until the
// closer is closed.
func readTree(ctx context.Context, g *global, source string) ([]*tree.Entry, io.Closer, error) {
	path, err := tree.Resolve(source)
	if err != nil {
		return nil, nil, fileError(err)
	}
	if st, err := os.Stat(path); err != nil || !st.IsDir() {
		t, err := tree.OpenTar(ctx, path, g.tarOptions())
		if errors.Is(err, tree.ErrNotTar) {
			err = usageError(fmt.Errorf("%q is neither a directory nor a tarball", source))
		}
		if err != nil {
			return nil, nil, err
		}
		return t.Entries, t, nil
	}
	entries, err := tree.Collect(tree.FromDir(path, tree.DirOptions{Xattrs: true}))
	if err != nil {
		return nil, nil, err
	}
	// As in an image: its own mode is that of a place to put files together.
	entries[0].Mode, entries[0].Implied = 0o755, true
	return entries, io.NopCloser(nil), nil
}
