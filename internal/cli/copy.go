package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place"
)

func newCopy(g *global) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "copy SRC DEST",
		Short: "Copy images from one place to another",
		Long: `copy reads an image and writes it elsewhere, checking its digests on the way: layers
that are sent as they are stored have to unpack to what the config says, too. SRC
is what inspect takes, DEST what build takes. An OCI layout gets the layers as they
are stored, and the manifest too where it is an OCI one of the same layers.

An image keeps all its names, or the one that SRC names; it may have none. What it is
called in a layout alone, such as a tag, stays in layouts and registries. Of an
archive or layout of several all are copied. A DEST that has a name, such as the tag
of docker://HOST/NAME:TAG, is for one image, which is called so then.

Of an index the image for --platform is copied; with --all it is the index with all
images, between registries byte for byte and with what else it lists.`,
		Example: `  varve copy hello.tar oci:images:hello
  varve copy oci:images:hello docker-archive:hello.tar:hello:1.2
  varve copy saved.tar docker-daemon:
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
	found, err := g.open(ctx, src)
	if err != nil {
		return err
	}
	if len(found.images) > 1 && dest.IsNamed() {
		return severalImages(src, found.images)
	}
	return g.copyImages(ctx, found, src, dest)
}

// copyImages writes images elsewhere, by the names that they had.
func (g *global) copyImages(ctx context.Context, found *opened, src string, dest *destination) error {
	var images []image.Named
	for _, img := range found.images {
		g.checkAnnounced(src, img.Stored)
		images = append(images, img.Named(found.asked))
	}
	written, err := g.write(ctx, dest, images...)
	var collision *image.CollisionError
	switch {
	case errors.As(err, &collision):
		return severalImages(src, found.images)
	case err != nil:
		return fmt.Errorf("copy %s to %q: %w", sourceName(src), dest.String(), err)
	case dest.Transport == place.Registry || dest.Transport.IsEngine(): // it was told already
		return nil
	}
	for i, w := range written {
		g.ui.Info("%s: image %s, id %s, %s", dest.where(), calledOr(w.Names, "without a name"), w.ID, plural(len(images[i].Layers()), "layer"))
	}
	return nil
}

// checkAnnounced warns of an image that is for another platform than where it comes
// from says: it may run all the same, and a copy makes nothing of either.
func (g *global) checkAnnounced(src string, found *image.Stored) {
	if err := found.CheckPlatform(); err != nil {
		g.odd(src)(err)
	}
}

// odd warns of what is odd about a source.
func (g *global) odd(src string) func(error) {
	return func(err error) { g.ui.Warn("%s: %v", sourceName(src), err) }
}

// warnNameless warns of an image that loses its names where each has to be NAME:TAG.
func (g *global) warnNameless(d *destination, names image.Names) {
	if !d.Transport.HasRepoTags() || d.Name != "" || len(names.RepoTags) > 0 || len(names.RefNames) == 0 {
		return
	}
	tag, where := "TAG", string(d.Transport)+":"
	if own := names.RefNames[0]; image.Tag("x:"+own) == own {
		tag = own
	}
	if d.Transport == place.DockerArchive {
		where += "FILE:"
	}
	g.advise("%q is no NAME:TAG, which %q needs: the image is written without a name; give it one with varve copy, to %sNAME:%s", names.RefNames[0], d.String(), where, tag)
}
