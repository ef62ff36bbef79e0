package cli

import "github.com/spf13/cobra"

func newMerge(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "merge IMAGE... -o FILE",
		Short: "Put several images into one docker-archive, as nixpkgs' mergeImages does",
		Long: `merge writes one docker-archive with all the images, which docker load loads at once.
Layers that they share are there once, and every image keeps its names. IMAGE is what
inspect takes; of an archive of several all are taken.`,
		Example: `  varve merge app.tar database.tar.gz -o both.tar`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := g.archiveOutput(output)
			if err != nil {
				return err
			}
			return g.dockerTools().Merge(cmd.Context(), args, out.Path, out.Compression)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "the `file` to write, compressed as its name says; - is standard output")
	return cmd
}
