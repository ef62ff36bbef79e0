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
	var all bool
	cmd := &cobra.Command{
		Use:   "copy SRC DEST",
		Short: "Copy an image from one place to another",
		Long: `copy reads an image and writes it elsewhere, checking its digests on the way: layers
that are sent as they are stored have to unpack to what the config says, too. SRC
is what inspect takes, DEST what build takes. An OCI layout gets the layers as they
are stored, and the manifest too where it is an OCI one of the same layers.

Of an index the image for --platform is copied; with --all it is the index with all
images, between registries byte for byte and with what else it lists.`,
		Example: `  varve copy hello.tar oci:images:hello
  varve copy oci:images:hello docker-archive:hello.tar:hello:1.2
  varve copy --all docker://debian:12 docker://registry.example/debian:12`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				return runCopyAll(cmd.Context(), g, args[0], args[1])
			}
			return runCopy(cmd.Context(), g, args[0], args[1])
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "copy an index with the images for all platforms")
	return cmd
}

func runCopy(ctx context.Context, g *global, src, dst string) error {
	dest, err := g.copyDestination(dst)
	if err != nil {
		return err
	}
	found, err := g.openOne(ctx, src)
	if err != nil {
		return err
	}
	return g.copyImage(ctx, found, src, dest)
}

func (g *global) copyImage(ctx context.Context, found *image.Existing, src string, dest *destination) error {
	g.checkAnnounced(src, found)
	img := found.Image()
	if err := nameCopy(img, found.Names, dest); err != nil {
		return err
	}
	if err := g.write(ctx, img, dest); err != nil {
		return fmt.Errorf("copy %s to %q: %w", sourceName(src), dest.String(), err)
	}
	return nil
}

// checkAnnounced warns of an image that is for another platform than where it comes
// from says: it may run all the same, and a copy makes nothing of either.
func (g *global) checkAnnounced(src string, found *image.Existing) {
	if err := found.CheckPlatform(); err != nil {
		g.odd(src)(err)
	}
}

// odd warns of what is odd about a source.
func (g *global) odd(src string) func(error) {
	return func(err error) { g.ui.Warn("%s: %v", sourceName(src), err) }
}

// copyDestination is where an image goes that is there already: archives are
// compressed as their name says.
func (g *global) copyDestination(text string) (*destination, error) {
	dest := &destination{compression: layer.Compression{Algorithm: layer.Gzip}}
	if err := dest.parse(text); err != nil {
		return nil, err
	}
	if dest.kind == layerDir {
		return nil, usageError(fmt.Errorf("destination %q: an image is more than one layer; build makes it of a spec", text))
	}
	if err := g.checkDestination(dest); err != nil {
		return nil, err
	}
	if algorithm, ok := archiveCompression(dest.path); ok && dest.kind == dockerArchive {
		dest.compression.Algorithm = algorithm
	} else if dest.kind == dockerArchive {
		dest.compression.Algorithm = layer.None
	}
	return dest, nil
}

// shortName is a name as people write it: without what Docker adds to it.
func shortName(name string) string { return strings.TrimPrefix(name, "docker.io/library/") }

// nameCopy gives a copy the name that it had, where its destination asks for
// none.
func nameCopy(img *image.Image, names []string, dest *destination) error {
	for _, name := range names {
		repository, tag, err := image.SplitRepoTag(shortName(name))
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
