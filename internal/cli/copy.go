package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
)

func newCopy(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "copy SRC DEST",
		Short: "Copy an image from one place to another",
		Long: `copy reads an image and writes it elsewhere, checking its digests on the way. SRC
is what inspect takes, DEST what build takes. An OCI layout gets the layers as they
are stored, and the manifest too where it is an OCI one of the same layers.`,
		Example: `  varve copy hello.tar oci:images:hello
  varve copy oci:images:hello docker-archive:hello.tar:hello:1.2`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCopy(cmd.Context(), g, args[0], args[1])
		},
	}
}

func runCopy(ctx context.Context, g *global, src, dst string) error {
	dest := &destination{compression: layer.Compression{Algorithm: layer.Gzip}}
	if err := dest.parse(dst); err != nil {
		return err
	}
	if dest.kind == layerDir {
		return usageError(fmt.Errorf("destination %q: an image is more than one layer; build makes it of a spec", dst))
	}
	if err := g.checkDestination(dest); err != nil {
		return err
	}
	if algorithm, ok := archiveCompression(dest.path); ok && dest.kind == dockerArchive {
		dest.compression.Algorithm = algorithm
	} else if dest.kind == dockerArchive {
		dest.compression.Algorithm = layer.None
	}
	found, err := g.openOne(ctx, src)
	if err != nil {
		return err
	}
	img := found.Image()
	if err := nameCopy(img, found.Names, dest); err != nil {
		return err
	}
	if err := g.write(ctx, img, dest); err != nil {
		return fmt.Errorf("copy %q to %q: %w", src, dst, err)
	}
	return nil
}

// nameCopy gives a copy the name that it had, where its destination asks for
// none.
func nameCopy(img *image.Image, names []string, dest *destination) error {
	for _, name := range names {
		repository, tag, err := image.SplitRepoTag(strings.TrimPrefix(name, "docker.io/library/"))
		if err == nil {
			img.Repository, img.Tag = repository, tag
			break
		}
	}
	if img.Repository == "" && dest.hasRepoTag() && dest.name == "" {
		return usageError(hint(errors.New("the image has no name, which its destination needs"), "put one behind it: docker-archive:FILE:NAME:TAG, docker-daemon:NAME:TAG …"))
	}
	return nil
}
