package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/build"
	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

func newExport(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export IMAGE -o FILE.tar",
		Short: "Write the root file system of an image as one tar, as nixpkgs' exportImage does",
		Long: `export writes the file system that an image's layers show as one tar: names ./… sorted,
deletions applied, hard links as files of their own, owners and modes as the image has
them, whoever runs it. Times are those in the image, or SOURCE_DATE_EPOCH where that is
set. IMAGE is what inspect takes.`,
		Example: `  varve export hello.tar -o rootfs.tar
  varve export docker-daemon:debian:12 -o - | tar tv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExport(cmd.Context(), g, args[0], output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "the `file` to write, compressed as its name says; - is standard output")
	return cmd
}

func runExport(ctx context.Context, g *global, ref, output string) error {
	dest, err := archiveDestination(output)
	if err != nil {
		return err
	}
	epoch, err := g.sourceDateEpoch()
	if err != nil {
		return err
	}
	found, closer, err := g.open(ctx, ref)
	if err != nil {
		return err
	}
	defer closer.Close()
	if len(found) != 1 {
		return usageError(hint(fmt.Errorf("%q holds %d images", ref, len(found)), "say which: "+imageNames(found)))
	}
	err = g.toFile(dest.path, func(w io.Writer) error {
		return compressed(w, dest.compression, func(w io.Writer) error { return exportTree(ctx, g, w, found[0], epoch) })
	})
	if err != nil {
		return fmt.Errorf("export %q: %w", ref, err)
	}
	return nil
}

// exportTree writes the file system that an image's layers show.
func exportTree(ctx context.Context, g *global, w io.Writer, img *image.Existing, epoch *int64) error {
	layers := make([]tree.LayerSource, len(img.Layers))
	for i, l := range img.Layers {
		layers[i] = l
	}
	overlay, err := tree.OpenOverlay(ctx, layers, tree.OverlayOptions{TempDir: g.tempDir()})
	if err != nil {
		return err
	}
	defer overlay.Close()
	if err := overlay.Spool(ctx); err != nil {
		return err
	}
	out := layer.NewWriter(w, layer.GNU, "./")
	for _, e := range overlay.Entries {
		if epoch != nil {
			e.ModTime = *epoch
		}
		if err := out.Write(ctx, e); err != nil {
			return err
		}
	}
	return out.Close()
}

// sourceDateEpoch is the environment's, or nil.
func (g *global) sourceDateEpoch() (*int64, error) {
	text, ok := g.streams.LookupEnv("SOURCE_DATE_EPOCH")
	if !ok || text == "" {
		return nil, nil
	}
	epoch, err := build.ParseSourceDateEpoch(text)
	return &epoch, usageError(err)
}
