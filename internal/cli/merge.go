package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/internal/treefile"
)

func newMerge(e *environment) *cobra.Command {
	c := newCommand(e)
	var output string
	cmd := &cobra.Command{
		Use:   "merge IMAGE... -o FILE",
		Short: "Put several images into one docker-archive, as nixpkgs' mergeImages does",
		Long: `merge writes one docker-archive with all of the images, which docker load loads at once.
Shared layers are stored once, and every image keeps its names. IMAGE is what inspect
takes. If an archive holds several images, all are taken.`,
		Example:           `  varve merge app.tar database.tar.gz -o both.tar`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(true, c.completeImage),
		RunE: c.run(func(ctx context.Context, args []string) error {
			out, err := c.archiveOutput(output)
			if err != nil {
				return err
			}
			return runMerge(ctx, c, args, out)
		}),
	}
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(&output, "output", "o", "", "write the archive to `FILE`, compressed as its name says; - is standard output")
	})
	c.registerCopy(cmd)
	return cmd
}

func runMerge(ctx context.Context, c *command, refs []string, out *treefile.Output) error {
	want, err := c.registry.wanted()
	if err != nil {
		return err
	}
	dest := transfer.Destination{Ref: place.Ref{Transport: place.DockerArchive, Path: out.Path}, Compression: out.Compression}
	_, err = transfer.Merge(ctx, refs, dest, c.transfers(want))
	return err
}
