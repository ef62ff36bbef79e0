package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place"
)

func newMerge(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "merge IMAGE... -o FILE",
		Short: "Put several images into one docker-archive, as nixpkgs' mergeImages does",
		Long: `merge writes one docker-archive with all the images, which docker load loads at once.
Layers that they share are there once, and every image keeps its names. IMAGE is what
inspect takes; of an archive of several all are taken.`,
		Example:           `  varve merge app.tar database.tar.gz -o both.tar`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeArgs(true, g.completeImage),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := archiveOutput(output)
			if err != nil {
				return err
			}
			return runMerge(cmd.Context(), g, args, out)
		},
	}
	outputGroup.add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(&output, "output", "o", "", "write the archive to `FILE`, compressed as its name says; - is standard output")
	})
	g.registerRead(cmd)
	return cmd
}

func runMerge(ctx context.Context, g *global, refs []string, out *output) error {
	dest := &destination{place.Ref{Transport: place.DockerArchive, Path: out.path}, out.compression}
	var images []image.Named
	taken := map[string]string{}
	for _, ref := range refs {
		found, err := g.open(ctx, ref)
		if err != nil {
			return err
		}
		for _, img := range found.images {
			names := image.NamesFor(img.Names, found.asked)
			if names.RepoTags, err = mergedNames(img.Names, ref, taken); err != nil {
				return err
			}
			images = append(images, image.Named{Image: img.Stored, Names: names})
		}
	}
	if _, err := g.write(ctx, dest, images...); err != nil {
		return fmt.Errorf("merge into %q: %w", out.path, err)
	}
	return nil
}

// mergedNames are the names that an image brings, none of which another one
// may have.
func mergedNames(names []string, ref string, taken map[string]string) ([]string, error) {
	var kept []string
	for _, name := range names {
		if _, _, err := image.SplitRepoTag(name); err != nil {
			continue // a layout's own name for it
		}
		if other, ok := taken[name]; ok {
			return nil, usageError(fmt.Errorf("%q and %q both hold an image called %q: an archive has one of a name", other, ref, name))
		}
		taken[name] = ref
		kept = append(kept, name)
	}
	return kept, nil
}
