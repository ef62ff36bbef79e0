package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/layer"
)

func newInspect(g *global) *cobra.Command {
	var asJSON, raw bool
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show an image's config, its layers and what is in them, and its history",
		Long: `inspect reads an image to its last byte, checks its digests and shows its config,
its layers and what is in them, and its history. IMAGE is

  PATH                              a docker-archive, an OCI layout or its archive
  docker-archive:PATH[:NAME:TAG]    one image of a docker-archive
  oci:DIR[:NAME], oci-archive:PATH[:NAME], dir:DIR
  docker://HOST/NAME:TAG, docker://HOST/NAME@DIGEST
  docker-daemon:NAME:TAG, containers-storage:NAME:TAG, containerd:NAME:TAG
  -                                 an archive on standard input

NAME is one that the image has there; @N, the number of an image from 0, @DIGEST or
NAME@DIGEST, as in oci:DIR@sha256:…, do as well. Of several the first for --platform is
meant, of an index too; without a name all images are shown.

With --raw it is what IMAGE names, byte for byte: the index, the manifest, or a
docker-archive's manifest.json; the index's manifest for --platform, where that is given.`,
		Example: `  varve inspect hello.tar
  varve inspect --json oci:images:hello | jq '.[0].layers[].size'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeArgs(false, g.completeImage),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case asJSON && raw:
				return usageError(errors.New("--json and --raw exclude each other"))
			case raw:
				return runInspectRaw(cmd.Context(), g, args[0])
			}
			return runInspect(cmd.Context(), g, args[0], asJSON)
		},
	}
	outputGroup.add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&asJSON, "json", false, "print a JSON list with an object for each image")
		f.BoolVar(&raw, "raw", false, "print the index or manifest as it is stored")
	})
	g.registerRead(cmd)
	return cmd
}

// inspected is an image and what reading its layers told.
type inspected struct {
	*place.Image
	layers []inspectedLayer
}

// inspectedLayer is a layer, what it holds, and its tar's size in bytes.
type inspectedLayer struct {
	image.StoredLayer
	info    layer.Info
	summary *layer.Summary
}

func runInspect(ctx context.Context, g *global, ref string, asJSON bool) error {
	found, err := g.open(ctx, ref)
	if err != nil {
		return err
	}
	images := make([]*inspected, len(found.images))
	for i, img := range found.images {
		if images[i], err = readLayers(ctx, img); err != nil {
			return fmt.Errorf("inspect %s: %w", sourceName(ref), err)
		}
	}
	if asJSON {
		return g.printJSON(images)
	}
	texts := make([]string, len(images))
	for i, img := range images {
		texts[i] = img.text()
	}
	return g.print(strings.Join(texts, "\n"))
}

// runInspectRaw prints what a reference names, as it is stored.
func runInspectRaw(ctx context.Context, g *global, ref string) error {
	if g.registry.platform != "" {
		img, err := g.openOne(ctx, ref)
		if err != nil {
			return err
		}
		if len(img.Manifest) > 0 {
			return g.print(string(img.Manifest))
		}
		return g.print(string(img.Raw))
	}
	every, err := g.openEvery(ctx, ref)
	if err != nil {
		return err
	}
	switch found := every.images; {
	case !sameRaw(found):
		return severalImages(ref, found)
	case len(found[0].Raw) == 0:
		return fmt.Errorf("%s has no manifest", sourceName(ref))
	}
	return g.print(string(every.images[0].Raw))
}

// readLayers reads an image's layers to their ends.
func readLayers(ctx context.Context, img *place.Image) (*inspected, error) {
	all := &inspected{Image: img}
	for i, l := range img.StoredLayers() {
		read, err := readLayer(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		all.layers = append(all.layers, *read)
	}
	return all, nil
}

func readLayer(ctx context.Context, l image.StoredLayer) (*inspectedLayer, error) {
	info, err := l.Info(ctx)
	if err != nil {
		return nil, err
	}
	r, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	summary, err := layer.Summarize(ctx, r)
	return &inspectedLayer{l, info, summary}, err
}
