package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/dockerarchive"
	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/ocilayout"
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
	kind, path, name, err := parseSource(ref)
	if err != nil {
		return err
	}
	source := strconv.Quote(ref)
	if path == "-" {
		source = "standard input"
		if path, err = g.spool(ctx); err != nil {
			return err
		}
		defer os.Remove(path)
	}
	found, closer, err := openImages(ctx, g, kind, path)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", source, err)
	}
	defer closer.Close()
	if found, err = choose(found, name, ref); err != nil {
		return err
	}
	images := make([]*inspected, len(found))
	for i, img := range found {
		if images[i], err = readLayers(ctx, img); err != nil {
			return fmt.Errorf("inspect %s: %w", source, err)
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

// parseSource takes an image reference apart. The kind of a bare path is
// empty.
func parseSource(ref string) (kind, path, name string, err error) {
	for _, transport := range later {
		if strings.HasPrefix(ref, transport) {
			return "", "", "", usageError(fmt.Errorf("%q: this version of varve cannot read from %s", ref, strings.TrimRight(transport, ":/")))
		}
	}
	kind, rest, found := strings.Cut(ref, ":")
	if !found || kind != dockerArchive && kind != ociDir && kind != ociArchive {
		return "", ref, "", nil
	}
	path, name, _ = strings.Cut(rest, ":")
	if path == "" {
		return "", "", "", usageError(fmt.Errorf("image %q: the path is missing", ref))
	}
	return kind, path, name, nil
}

// spool puts standard input into a temporary file.
func (g *global) spool(ctx context.Context) (string, error) {
	f, err := os.CreateTemp(g.tempDir(), "varve-stdin-")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := io.Copy(f, ctxio.Reader(ctx, g.streams.In)); err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return f.Name(), nil
}

// openImages opens what is at path, finding out what it is where kind does not
// say.
func openImages(ctx context.Context, g *global, kind, path string) ([]*image.Existing, io.Closer, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, nil, cause(err)
	}
	if kind == dockerArchive || kind == "" && !st.IsDir() {
		images, closer, err := openDockerArchive(ctx, g, path)
		if kind != "" || !errors.Is(err, dockerarchive.ErrNoManifest) {
			return images, closer, err
		}
	}
	return openLayout(ctx, g, path)
}

func openDockerArchive(ctx context.Context, g *global, path string) ([]*image.Existing, io.Closer, error) {
	a, err := dockerarchive.Open(ctx, path, g.tempDir())
	if err != nil {
		return nil, nil, err
	}
	images := make([]*image.Existing, a.Images())
	for i := range images {
		if images[i], err = a.Image(i); err != nil {
			a.Close()
			return nil, nil, err
		}
	}
	return images, a, nil
}

func openLayout(ctx context.Context, g *global, path string) ([]*image.Existing, io.Closer, error) {
	l, err := ocilayout.Open(ctx, path, g.tempDir())
	if err != nil {
		return nil, nil, err
	}
	images, err := layoutImages(l)
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return images, l, nil
}

func layoutImages(l *ocilayout.Layout) ([]*image.Existing, error) {
	entries, err := l.Entries()
	if err != nil {
		return nil, err
	}
	images := make([]*image.Existing, len(entries))
	for i, e := range entries {
		if images[i], err = l.Image(e); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// choose picks the image that has a name. No name picks all.
func choose(images []*image.Existing, name, ref string) ([]*image.Existing, error) {
	if name == "" {
		return images, nil
	}
	var have []string
	for _, img := range images {
		for _, n := range img.Names {
			if n == name {
				return []*image.Existing{img}, nil
			}
			have = append(have, fmt.Sprintf("%q", n))
		}
	}
	return nil, usageError(fmt.Errorf("image %q: nothing there has this name, but %s", ref, strings.Join(have, ", ")))
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
