// Package dockerarchive writes images as the archives that `docker load`
// reads, and reads the images in such an archive.
//
// Guarantees:
//
//   - The archive is a tar whose members are, as nixpkgs' streamLayeredImage writes them:
//     <digest>/layer.tar for each layer, the lowest first; <digest of the config>.json;
//     manifest.json. Its headers have only the owner 0:0 and the image's time.
//   - The layers in it are not compressed. The writer that it goes to may compress the whole.
//   - A layer that is there twice is written once.
//   - WriteSkopeo writes an archive of another shape, byte for byte skopeo's.
//   - What is read is checked: sizes are limited, an archive has an end and nothing after it,
//     and a layer's bytes have their diffID in the config. Members may be in any order, layers
//     may be links, repeated or compressed, as in the archives of Docker 25 and later, which are
//     OCI layouts as well.
//
// Non-goals: reading the repositories file and the layers' json files of Docker before 1.10,
// which nothing needs any more.
package dockerarchive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// Options are the options of Write and WriteSkopeo.
type Options struct {
	// RepeatLayers writes a layer that occurs twice both times, as nixpkgs'
	// streamer does.
	RepeatLayers bool
	// TempDir is where layers that are stored compressed are unpacked, a few at a time and
	// without a name; it defaults to the system's directory for such files.
	TempDir string
	// Compressed says that the writer compresses the archive, which matters to Observe alone.
	Compressed bool
	// Observe, where it is set, is called for each layer.
	Observe func(image.Event)
}

// Write writes the image to w.
func Write(ctx context.Context, w io.Writer, img image.Named, opts Options) error {
	return WriteAll(ctx, w, []image.Named{img}, opts)
}

// WriteAll writes several images to w as one archive. What they have in common is written once.
// An empty list is an error.
func WriteAll(ctx context.Context, w io.Writer, images []image.Named, opts Options) error {
	if len(images) == 0 {
		return errors.New("there is no image to write")
	}
	if opts.Observe != nil {
		ctx = tally.With(ctx)
	}
	a := &writer{ctx: ctx, tar: layer.NewWriter(w, layer.PAX, ""), opts: opts, written: map[string]digest.Digest{}}
	for _, img := range images {
		if err := a.image(img); err != nil {
			return err
		}
	}
	manifest, err := ordjson.Marshal(a.manifest)
	if err != nil {
		return err
	}
	if err := a.file("manifest.json", manifest); err != nil {
		return err
	}
	return a.tar.Close()
}

type writer struct {
	ctx  context.Context
	tar  *layer.Writer
	opts Options
	// img is the image that is being written, and layers its layers so far.
	img    image.Named
	layers []any
	// manifest has an element for each image; written holds the archive's members and the digest
	// of each.
	manifest []any
	written  map[string]digest.Digest
}

func (a *writer) image(img image.Named) error {
	a.img, a.layers = img, []any{}
	if err := eachLayer(a.ctx, img, a.opts, a.layer); err != nil {
		return err
	}
	config, err := img.RawConfig(a.ctx)
	if err != nil {
		return err
	}
	tagged, err := img.Tagged(a.ctx)
	if err != nil {
		return err
	}
	names := make([]any, len(tagged.RepoTags))
	for i, name := range tagged.RepoTags {
		names[i] = name
	}
	configDigest := digest.FromBytes(config)
	configName := configDigest.Encoded() + ".json"
	a.manifest = append(a.manifest, &ordjson.Object{Members: []ordjson.Member{
		{Key: "Config", Value: configName},
		{Key: "RepoTags", Value: names},
		{Key: "Layers", Value: a.layers},
	}})
	if _, ok := a.written[configName]; ok {
		return nil
	}
	a.written[configName] = configDigest
	return a.file(configName, config)
}

func (a *writer) layer(ctx context.Context, i int, l image.Layer, info layer.Info) error {
	e := &tree.Entry{}
	if m, ok := a.img.Layers()[i].(image.MemberLayer); ok {
		e = m.Member()
	} else {
		e.Mode = 0o644
	}
	if e.Path == "" {
		e.ModTime = image.ModTime(a.img)
	}
	e.Path = a.free(e.Path, info.DiffID)
	e.Type, e.Size = tree.Regular, info.Size
	a.layers = append(a.layers, e.Path)
	event := image.Event{Layer: i + 1, Layers: len(a.img.Layers()), Title: l.Title(), Size: info.Size}
	a.opts.observe(ctx, event, l)
	if _, ok := a.written[e.Path]; !ok || a.opts.RepeatLayers {
		a.written[e.Path] = info.DiffID
		if err := a.tar.WriteHeader(e); err != nil {
			return err
		}
		if err := a.tar.Content(info.Size, func(w io.Writer) error { return writeSized(ctx, w, l, info.Size) }); err != nil {
			return fmt.Errorf("layer %d (%q): %w", i+1, l.Title(), err)
		}
		a.tar.Pad(info.Size)
		a.opts.count(ctx, l, info.Size)
	}
	event.Done = true
	a.opts.observe(ctx, event, l)
	return nil
}

// writeSized writes a layer, and fails if its size is not the header's. Layers check their
// digests themselves.
func writeSized(ctx context.Context, w io.Writer, l image.Layer, size int64) error {
	c := &counter{w: w, step: tally.Begin(ctx, "writing", l.Title(), size)}
	defer c.step.End()
	if err := l.Write(ctx, c); err != nil {
		return err
	}
	if c.n != size {
		return fmt.Errorf("%s: it wrote %d bytes, and said that it has %d", l.Title(), c.n, size)
	}
	return nil
}

// counter counts what it passes on.
type counter struct {
	w    io.Writer
	n    int64
	step *tally.Step
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.step.Add(n)
	return n, err
}

// free returns the name for a layer: the wanted one, if there is one and it is not taken.
// Another archive may have given that name to another layer, or to this one the name of a
// config or of a file that says what an archive is.
func (a *writer) free(wanted string, id digest.Digest) string {
	taken := func(name string) bool {
		had, ok := a.written[name]
		return strings.HasSuffix(name, ".json") || name == v1.ImageLayoutFile || name == "repositories" || ok && had != id
	}
	if wanted != "" && !taken(wanted) {
		return wanted
	}
	name := id.Encoded() + "/layer.tar"
	for i := 2; taken(name); i++ {
		name = fmt.Sprintf("%s-%d/layer.tar", id.Encoded(), i)
	}
	return name
}

// observe reports a layer with what was done to it so far.
func (o Options) observe(ctx context.Context, e image.Event, l image.Layer) {
	if o.Observe != nil {
		e.Work = image.Work(tally.From(ctx).Work(l))
		o.Observe(e)
	}
}

// count counts a layer of size bytes that was written.
func (o Options) count(ctx context.Context, l image.Layer, size int64) {
	t := tally.From(ctx)
	t.Add(tally.Sent, l, size, 0)
	if o.Compressed {
		t.Add(tally.Compressed, l, size, 0)
	}
}

func (a *writer) file(name string, data []byte) error {
	e := tree.NewFile(name, 0o644, string(data))
	e.ModTime = image.ModTime(a.img)
	return a.tar.Write(a.ctx, e)
}
