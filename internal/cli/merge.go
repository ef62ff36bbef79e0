package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place/dockerarchive"
)

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
			dest, err := archiveDestination(output)
			if err != nil {
				return err
			}
			return runMerge(cmd.Context(), g, args, dest)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "the `file` to write, compressed as its name says; - is standard output")
	return cmd
}

func runMerge(ctx context.Context, g *global, refs []string, dest *destination) error {
	var images []*image.Image
	taken := map[string]string{}
	for _, ref := range refs {
		found, err := g.open(ctx, ref)
		if err != nil {
			return err
		}
		for _, existing := range found.images {
			img := existing.Image()
			if img.MoreNames, err = mergedNames(existing.Names, ref, taken); err != nil {
				return err
			}
			_, img.RefNames = image.NamesFor(existing.Names, found.asked)
			g.warnNameless(dest, img)
			images = append(images, img)
		}
	}
	all := &image.Index{Images: images}
	task := g.ui.Progress(ctx, all.Layers(), "merging")
	defer task.Finish()
	err := g.toFile(dest.path, func(w io.Writer) error {
		opts := dockerarchive.Options{TempDir: g.tempDir(), Observe: observeAll(task, all)}
		return compressed(w, dest.compression, func(w io.Writer) error { return dockerarchive.WriteAll(ctx, w, images, opts) })
	})
	if err != nil {
		return fmt.Errorf("merge into %q: %w", dest.path, err)
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

// archiveDestination is a docker-archive, or the tar of something else, that
// -o names.
func archiveDestination(output string) (*destination, error) {
	if output == "" {
		return nil, usageError(hint(errors.New("no output"), "name a file with -o, or - for standard output"))
	}
	algorithm, ok := archiveCompression(output)
	if !ok && output != "-" {
		return nil, usageError(fmt.Errorf("output %q: expected a name that ends in .tar, .tar.gz or .tar.zst, or -", output))
	}
	if output == "-" {
		algorithm = compress.None
	}
	return &destination{kind: dockerArchive, path: output, compression: compress.Compression{Algorithm: algorithm}}, nil
}
