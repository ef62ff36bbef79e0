package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/spec"
)

type rebaseOptions struct {
	oldBase, newBase, output string
}

func newRebase(g *global) *cobra.Command {
	o := &rebaseOptions{}
	cmd := &cobra.Command{
		Use:   "rebase IMAGE --new-base IMAGE -o DEST",
		Short: "Put the layers that an image adds to its base on another base",
		Long: `rebase takes an image apart at its old base and puts what it adds, as it is, on a new
one, such as the same with security fixes: nothing is built. What the image's config has
from the old base becomes what the new one has; what it set itself stays. The image has
to begin with the old base's layers.

Without --old-base it is the one that the image's manifest names
(org.opencontainers.image.base.name and .digest, which varve build writes), and without
--new-base what that name stands for now. DEST is what copy takes.

It does not look into the layers: one that replaces a file of the old base, or goes
through its symlinks, does the same to the new one.`,
		Example: `  varve rebase docker://registry.example/app:1 -o docker://registry.example/app:1.1
  varve rebase app.tar --old-base debian-12.1.tar --new-base debian-12.2.tar -o new.tar`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRebase(cmd.Context(), g, o, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.oldBase, "old-base", "", "the `image` that it is built on (default: what its annotations say)")
	f.StringVar(&o.newBase, "new-base", "", "the `image` to put it on (default: what the old base's name stands for now)")
	f.StringVarP(&o.output, "output", "o", "", "where to write the image")
	return cmd
}

func runRebase(ctx context.Context, g *global, o *rebaseOptions, ref string) error {
	if o.output == "" {
		return usageError(hint(errors.New("no output"), "say with -o where the image is to go"))
	}
	dest, err := g.copyDestination(o.output)
	if err != nil {
		return err
	}
	existing, err := g.openOne(ctx, ref)
	if err != nil {
		return err
	}
	if err := o.complete(existing.Stored); err != nil {
		return err
	}
	platform := existing.ConfigPlatform()
	platform.OSVersion = ""
	var bases [2]*image.Stored
	for i, base := range []string{o.oldBase, o.newBase} {
		src, name, err := g.openSource(ctx, base)
		if err != nil {
			return err
		}
		img, err := g.selectImage(ctx, src, name, platform)
		if err != nil {
			return err
		}
		bases[i] = img.Stored
	}
	img, err := image.Rebase(existing.Stored, bases[0], bases[1])
	if err != nil {
		return usageError(fmt.Errorf("rebase %s: %w", sourceName(ref), err))
	}
	if n := len(img.DiffIDs); n > spec.MaxLayers {
		return usageError(fmt.Errorf("rebase %s: the image would have %d layers, more than %d", sourceName(ref), n, spec.MaxLayers))
	}
	name, _ := strings.CutPrefix(o.newBase, "docker://")
	if name == o.newBase { // it is no registry's
		name = ""
	}
	img.Annotations = image.BaseAnnotations(img.Annotations, name, bases[1])
	at, err := place.ParseSource(ref)
	if err != nil {
		return err
	}
	if _, err := g.write(ctx, dest, (&place.Image{Stored: img, Names: existing.Names}).Named(at.Name)); err != nil {
		return fmt.Errorf("rebase %s: %w", sourceName(ref), err)
	}
	g.ui.Info("%s: %s of the old base replaced by %s of the new one, %s kept", dest,
		plural(len(bases[0].DiffIDs), "layer"), plural(len(bases[1].DiffIDs), "layer"), plural(len(existing.DiffIDs)-len(bases[0].DiffIDs), "layer"))
	return nil
}

// complete fills in the bases that were not named from the image's annotations.
func (o *rebaseOptions) complete(existing *image.Stored) error {
	annotations, err := ocijson.Annotations(existing.Manifest)
	if err != nil {
		return err
	}
	name, digest := annotations[v1.AnnotationBaseImageName], annotations[v1.AnnotationBaseImageDigest]
	if o.oldBase == "" {
		named, err := reference.ParseNormalizedNamed(name)
		if name == "" || digest == "" || err != nil {
			return usageError(hint(errors.New("the image does not say what it is built on: its manifest lacks the annotations "+
				v1.AnnotationBaseImageName+" and "+v1.AnnotationBaseImageDigest), "name the image with --old-base"))
		}
		if _, err := ocijson.ParseDigest(digest); err != nil {
			return fmt.Errorf("annotation %s: %w", v1.AnnotationBaseImageDigest, err)
		}
		o.oldBase = "docker://" + named.Name() + "@" + digest
	}
	if o.newBase == "" {
		if _, err := reference.ParseNormalizedNamed(name); name == "" || err != nil {
			return usageError(hint(errors.New("no new base, and the image does not say what its base is called"), "name one with --new-base"))
		}
		o.newBase = "docker://" + name
	}
	return nil
}
