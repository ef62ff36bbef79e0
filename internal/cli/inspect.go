package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
)

func newInspect(g *global) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show an image's config, its layers and what is in them, and its history",
		Long: `inspect reads an image to its last byte, checks its digests and shows its config,
its layers and what is in them, and its history. IMAGE is

  PATH                              a docker-archive, an OCI layout or its archive
  docker-archive:PATH[:NAME:TAG]    one image of a docker-archive
  oci:DIR[:NAME], oci-archive:PATH[:NAME]
  docker://HOST/NAME:TAG, docker://HOST/NAME@DIGEST
  docker-daemon:NAME:TAG, containers-storage:NAME:TAG, containerd:NAME:TAG
  -                                 an archive on standard input`,
		Example: `  varve inspect hello.tar
  varve inspect --json oci:images:hello | jq '.[0].layers[].size'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInspect(cmd.Context(), g, args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list with an object for each image")
	return cmd
}

// inspected is an image and what reading its layers told.
type inspected struct {
	*image.Existing
	layers []inspectedLayer
}

// inspectedLayer is a layer, what it holds, and its tar's size in bytes.
type inspectedLayer struct {
	image.ExistingLayer
	info    layer.Info
	summary *layer.Summary
}

func runInspect(ctx context.Context, g *global, ref string, asJSON bool) error {
	found, closer, err := g.open(ctx, ref)
	if err != nil {
		return err
	}
	defer closer.Close()
	images := make([]*inspected, len(found))
	for i, img := range found {
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

// readLayers reads an image's layers to their ends.
func readLayers(ctx context.Context, img *image.Existing) (*inspected, error) {
	all := &inspected{Existing: img}
	for i, l := range img.Layers {
		read, err := readLayer(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		all.layers = append(all.layers, *read)
	}
	return all, nil
}

func readLayer(ctx context.Context, l image.ExistingLayer) (*inspectedLayer, error) {
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
