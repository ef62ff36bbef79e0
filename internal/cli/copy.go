package cli

import (
	"cmp"
	"context"
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
	if len(found.images) > 1 && dest.hasName() {
		return severalImages(src, found.images)
	}
	return g.copyImages(ctx, found, src, dest)
}

// copyImages writes images elsewhere, by the names that they had.
func (g *global) copyImages(ctx context.Context, found *opened, src string, dest *destination) error {
	var images []*image.Image
	taken := map[string]bool{}
	for _, existing := range found.images {
		g.checkAnnounced(src, existing)
		img := existing.Image()
		repoTags, refNames := nameCopy(img, existing.Names, found.asked)
		images = append(images, img)
		if dest.kind != dockerRegistry {
			continue
		}
		for _, ref := range dest.registryRefs(repoTags, refNames) {
			if taken[ref] { // one would take the other's place
				return severalImages(src, found.images)
			}
			taken[ref] = true
		}
	}
	if err := g.write(ctx, dest, images...); err != nil {
		return fmt.Errorf("copy %s to %q: %w", sourceName(src), dest.String(), err)
	}
	return g.copied(ctx, dest, images)
}

// copied tells what a copy has written; of registries and engines it was told already.
func (g *global) copied(ctx context.Context, dest *destination, images []*image.Image) error {
	if dest.kind == dockerRegistry || isEngine(dest.kind) {
		return nil
	}
	for _, img := range images {
		text, err := describeCopy(ctx, dest, img)
		if err != nil {
			return err
		}
		g.ui.Info("%s: %s", dest.where(), text)
	}
	return nil
}

// describeCopy says in words which image was written, without reading it again.
func describeCopy(ctx context.Context, dest *destination, img *image.Image) (string, error) {
	id, err := dest.idOf(ctx, img)
	if err != nil {
		return "", err
	}
	names, err := img.RepoTags(ctx)
	if err != nil {
		return "", err
	}
	name := cmp.Or(plain(strings.Join(dest.namesOf(names, img.RefNames), ", ")), "without a name")
	return fmt.Sprintf("image %s, id %s, %s", name, id, plural(len(img.Layers), "layer")), nil
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

// nameCopy gives a copy the names that it keeps of those that there were, and returns
// them as image.NamesFor does. It may have none.
func nameCopy(img *image.Image, names []string, asked string) (repoTags, refNames []string) {
	repoTags, refNames = image.NamesFor(names, asked)
	img.RefNames = refNames
	for i, name := range repoTags {
		name = shortName(name)
		if i > 0 {
			img.MoreNames = append(img.MoreNames, name)
		} else if repository, tag, err := image.SplitRepoTag(name); err == nil {
			img.Repository, img.Tag = repository, tag
		}
	}
	return repoTags, refNames
}

// warnNameless warns of an image that loses its names where each has to be NAME:TAG.
func (g *global) warnNameless(d *destination, img *image.Image) {
	if !d.hasRepoTag() || d.name != "" || img.Repository != "" || len(img.MoreNames) > 0 || len(img.RefNames) == 0 {
		return
	}
	tag, where := "TAG", d.kind+":"
	if isTag(img.RefNames[0]) {
		tag = img.RefNames[0]
	}
	if d.kind == dockerArchive {
		where += "FILE:"
	}
	g.advise("%q is no NAME:TAG, which %q needs: the image is written without a name; give it one with varve copy, to %sNAME:%s", img.RefNames[0], d.String(), where, tag)
}
