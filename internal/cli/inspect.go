package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/varve-image/varve/dockerarchive"
	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/ordjson"
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

// inspected is what there is to say about an image.
type inspected struct {
	names []string
	// manifest is the digest of the manifest, where there is one.
	manifest digest.Digest
	config   *ordjson.Object
	id       digest.Digest
	layers   []inspectedLayer
}

type inspectedLayer struct {
	// digest, mediaType and size are those of the layer as it is stored.
	digest    digest.Digest
	mediaType string
	size      int64
	diffID    digest.Digest
	open      func() (io.ReadCloser, error)
	// plainSize and summary come from reading it.
	plainSize int64
	summary   *layer.Summary
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
	images, closer, err := openImages(ctx, g, kind, path)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", source, err)
	}
	defer closer.Close()
	if images, err = choose(images, name, ref); err != nil {
		return err
	}
	for _, img := range images {
		for i := range img.layers {
			if err := img.layers[i].read(ctx); err != nil {
				return fmt.Errorf("inspect %s: layer %d: %w", source, i+1, err)
			}
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
func openImages(ctx context.Context, g *global, kind, path string) ([]*inspected, io.Closer, error) {
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

func openDockerArchive(ctx context.Context, g *global, path string) (_ []*inspected, _ io.Closer, err error) {
	a, err := dockerarchive.Open(ctx, path, g.tempDir())
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	var images []*inspected
	for i := range a.Images() {
		base, err := a.Image(i)
		if err != nil {
			return nil, nil, err
		}
		img := &inspected{names: base.RepoTags, config: base.Config, id: digest.FromBytes(base.ConfigJSON)}
		for _, l := range base.Layers {
			info, err := l.Info(ctx)
			if err != nil {
				return nil, nil, err
			}
			img.layers = append(img.layers, inspectedLayer{
				digest: info.DiffID, size: info.Size, diffID: info.DiffID, open: opener(ctx, l),
			})
		}
		images = append(images, img)
	}
	return images, a, nil
}

// opener reads a layer that can only be written.
func opener(ctx context.Context, l image.Layer) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(l.Write(ctx, w)) }()
		return r, nil
	}
}

func openLayout(ctx context.Context, g *global, path string) (_ []*inspected, _ io.Closer, err error) {
	l, err := ocilayout.Open(ctx, path, g.tempDir())
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	entries, err := l.Entries()
	if err != nil {
		return nil, nil, err
	}
	var images []*inspected
	for _, e := range entries {
		stored, err := l.Image(e)
		if err != nil {
			return nil, nil, err
		}
		config, err := ordjson.Parse(stored.Config)
		if err != nil {
			return nil, nil, err
		}
		img := &inspected{manifest: e.Descriptor.Digest, id: digest.FromBytes(stored.Config)}
		img.config, _ = config.(*ordjson.Object)
		for _, name := range []string{e.Name, e.RefName} {
			if name != "" {
				img.names = append(img.names, name)
			}
		}
		for _, l := range stored.Layers {
			img.layers = append(img.layers, inspectedLayer{
				digest: l.Descriptor.Digest, mediaType: l.Descriptor.MediaType, size: l.Descriptor.Size,
				diffID: l.DiffID, open: l.Open,
			})
		}
		images = append(images, img)
	}
	return images, l, nil
}

// choose picks the image that has a name. No name picks all.
func choose(images []*inspected, name, ref string) ([]*inspected, error) {
	if name == "" {
		return images, nil
	}
	var have []string
	for _, img := range images {
		for _, n := range img.names {
			if n == name {
				return []*inspected{img}, nil
			}
			have = append(have, fmt.Sprintf("%q", n))
		}
	}
	return nil, usageError(fmt.Errorf("image %q: nothing there has this name, but %s", ref, strings.Join(have, ", ")))
}

// read reads the layer's tar to its end.
func (l *inspectedLayer) read(ctx context.Context) error {
	r, err := l.open()
	if err != nil {
		return err
	}
	defer r.Close()
	c := &countingReader{r: r}
	if l.summary, err = layer.Summarize(ctx, c); err != nil {
		return err
	}
	l.plainSize = c.n
	return nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
