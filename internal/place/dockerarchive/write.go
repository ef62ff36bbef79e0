// Package dockerarchive writes images as the archives that `docker load`
// reads, and reads the images in such an archive.
//
// Guarantees:
//
//   - The archive is a tar whose members are, as nixpkgs' streamLayeredImage writes them:
//     <digest>/layer.tar for each layer, the lowest first; <digest of the config>.json;
//     manifest.json. Its headers have only the owner 0:0 and the image's time.
//   - The layers in it are not compressed. The archive may be: as a series of streams, one for
//     each layer's tar and one for what is before, between and behind them, which together are
//     one file. Where they are cut does not depend on what a memo has.
//   - A layer that is there twice is written once.
//   - With Options.Layout the archive is an OCI layout as well: its layers and configs are blobs
//     there, and manifest.json, which is the last member, lists them by these names.
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
	"bytes"
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
	// without a name, and layers with many small files are kept after they were hashed, up to
	// 2 GiB and unless it is in memory; it defaults to the system's directory for such files.
	TempDir string
	// Compressor, where it is set, compresses the archive. Layers are compressed a few at a time,
	// to files without a name in TempDir.
	Compressor image.Compressor
	// Memo, where it is set, remembers what layers are compressed to.
	Memo image.Memo
	// Layout, where it is set, makes the archive an OCI layout as well.
	Layout Layout
	// Omit, where it is set, reports whether a layer is left out, though it is listed: who reads the
	// archive has it.
	Omit func(diffID digest.Digest) bool
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
		opts.Observe = eachOf(images, opts.Observe)
	}
	a := &writer{ctx: ctx, opts: opts, written: map[string]digest.Digest{}}
	if opts.Compressor == nil {
		a.tar = layer.NewWriter(w, layer.PAX, "")
		if !opts.RepeatLayers && opts.Omit == nil {
			a.room = roomIn(w)
		}
		return a.images(images)
	}
	sectionsCtx, abandon := context.WithCancel(ctx)
	defer abandon()
	a.packer, a.sections = newPacker(opts), &sections{ctx: sectionsCtx, w: w, compressor: opts.Compressor}
	a.tar = layer.NewWriter(a.sections, layer.PAX, "")
	err := a.images(images)
	if err != nil {
		abandon()
	}
	if cutErr := a.sections.cut(); err == nil {
		err = cutErr
	}
	return err
}

// images writes everything.
func (a *writer) images(images []image.Named) error {
	a.img = images[0]
	if err := a.beginLayout(); err != nil {
		return err
	}
	for i, img := range images {
		if err := a.image(i, img); err != nil {
			return err
		}
	}
	if err := a.endLayout(); err != nil {
		return err
	}
	manifest, err := ordjson.Marshal(a.manifest)
	if err != nil {
		return err
	}
	if err := a.file("manifest.json", manifest); err != nil {
		return err
	}
	if err := a.tar.Close(); err != nil {
		return err
	}
	return a.room.end()
}

type writer struct {
	ctx  context.Context
	tar  *layer.Writer
	opts Options
	// room is set if the archive is a file in which layers can be written before their headers.
	room *room
	// packer and sections are set if the archive is compressed.
	packer   *packer
	sections *sections
	// img is the image that is being written, layers the names of its layers so far, and infos their
	// digests and sizes.
	img    image.Named
	layers []any
	infos  []layer.Info
	// manifest has an element for each image; written holds the archive's members and the digest
	// of each.
	manifest []any
	written  map[string]digest.Digest
}

func (a *writer) image(i int, img image.Named) error {
	a.img, a.layers, a.infos = img, []any{}, nil
	if err := eachLayer(a.ctx, img, a.opts, by{a.room, a.packer}, a.layer); err != nil {
		return err
	}
	if a.opts.Layout != nil {
		return a.layoutImage(i)
	}
	config, err := img.RawConfig(a.ctx)
	if err != nil {
		return err
	}
	tagged, err := img.Tagged(a.ctx)
	if err != nil {
		return err
	}
	name := digest.FromBytes(config).Encoded() + ".json"
	a.list(name, tagged.RepoTags)
	return a.once(name, config)
}

// list adds the image to manifest.json.
func (a *writer) list(config string, repoTags []string) {
	names := make([]any, len(repoTags))
	for i, name := range repoTags {
		names[i] = name
	}
	a.manifest = append(a.manifest, &ordjson.Object{Members: []ordjson.Member{
		{Key: "Config", Value: config},
		{Key: "RepoTags", Value: names},
		{Key: "Layers", Value: a.layers},
	}})
}

// once writes a file of JSON whose name is made of its digest, unless it is there.
func (a *writer) once(name string, data []byte) error {
	if _, ok := a.written[name]; ok {
		return nil
	}
	a.written[name] = digest.FromBytes(data)
	return a.file(name, data)
}

// layer writes a layer. Without a digest in info, digest and size are found out meanwhile.
func (a *writer) layer(ctx context.Context, i int, l image.Layer, info layer.Info) (err error) {
	event := image.Event{Layer: i + 1, Layers: len(a.img.Layers()), Title: l.Title(), Size: info.Size}
	a.opts.observe(ctx, event, l)
	written := false
	if info.DiffID == "" {
		info, written, err = a.layerOnce(ctx, i, l.(image.OnceLayer))
	}
	if err == nil && !written {
		err = a.layerOf(ctx, a.entry(i, info), l, info)
	}
	if err != nil {
		return fmt.Errorf("layer %d (%q): %w", i+1, l.Title(), err)
	}
	a.infos = append(a.infos, info)
	event.Size, event.Done = info.Size, true
	a.opts.observe(ctx, event, l)
	return nil
}

// entry describes a layer's member.
func (a *writer) entry(i int, info layer.Info) *tree.Entry {
	if a.opts.Layout != nil {
		return &tree.Entry{Path: blobPath(info.DiffID), Type: tree.Regular, Mode: 0o644, ModTime: image.ModTime(a.img), Size: info.Size}
	}
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
	return e
}

// layerOf writes a layer, unless it is there.
func (a *writer) layerOf(ctx context.Context, e *tree.Entry, l image.Layer, info layer.Info) error {
	a.layers = append(a.layers, e.Path)
	if a.opts.omits(info.DiffID) {
		tally.From(ctx).Add(tally.Skipped, original(l), info.Size, 0)
		return nil
	}
	if _, ok := a.written[e.Path]; ok && !a.opts.RepeatLayers {
		return nil
	}
	a.written[e.Path] = info.DiffID
	if err := a.tar.WriteHeader(e); err != nil {
		return err
	}
	if err := a.tar.Content(info.Size, func(w io.Writer) error { return a.content(ctx, w, l, info) }); err != nil {
		return err
	}
	a.tar.Pad(info.Size)
	count(ctx, l, info)
	return nil
}

// noDigest has the length of a digest.
var noDigest = digest.NewDigestFromEncoded(digest.SHA256, strings.Repeat("0", 64))

// layerOnce writes a layer whose digest is not known. It returns false if there is no room for
// its header, or the archive has the layer.
func (a *writer) layerOnce(ctx context.Context, i int, l image.OnceLayer) (info layer.Info, written bool, err error) {
	likely, err := headerOf(a.entry(i, layer.Info{DiffID: noDigest}))
	if err != nil {
		return info, false, err
	}
	// Content hands on what is before the layer.
	err = a.tar.Content(0, func(io.Writer) error {
		info, written, err = a.room.layer(ctx, l, len(likely), func(info layer.Info) ([]byte, error) {
			e := a.entry(i, info)
			if _, ok := a.written[e.Path]; ok {
				return nil, nil
			}
			return headerOf(e)
		})
		return err
	})
	if err != nil || !written {
		return info, false, err
	}
	name := a.entry(i, info).Path
	a.layers = append(a.layers, name)
	a.written[name] = info.DiffID
	// It is there already: the tar has to know how long it is.
	err = a.tar.Content(int64(len(likely))+info.Size, func(io.Writer) error { return nil })
	a.tar.Pad(info.Size)
	count(ctx, l, info)
	return info, true, err
}

// headerOf returns a member's header.
func headerOf(e *tree.Entry) ([]byte, error) {
	var b bytes.Buffer
	w := layer.NewWriter(&b, layer.PAX, "")
	if err := w.WriteHeader(e); err != nil {
		return nil, err
	}
	err := w.Content(0, func(io.Writer) error { return nil })
	return b.Bytes(), err
}

// content writes a layer's tar.
func (a *writer) content(ctx context.Context, w io.Writer, l image.Layer, info layer.Info) error {
	if a.sections == nil {
		return writeSized(ctx, w, l, info.Size, "writing")
	}
	if err := a.sections.layer(ctx, l); err != nil {
		return err
	}
	a.packer.written(info)
	return nil
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
		e.Work = image.Work(tally.From(ctx).Work(original(l)))
		o.Observe(e)
	}
}

// count counts a layer that was written.
func count(ctx context.Context, l image.Layer, info layer.Info) {
	tally.From(ctx).Add(tally.Sent, original(l), info.Size, 0)
}

// original returns the image's own layer.
func original(l image.Layer) image.Layer {
	switch l := l.(type) {
	case *compressedLayer:
		return l.Layer
	case *spooled:
		return l.StoredLayer
	case *omittedLayer:
		return l.Layer
	case *keptLayer:
		return l.KeptLayer
	}
	return l
}

// file writes a file.
func (a *writer) file(name string, data []byte) error {
	e := tree.NewFile(name, 0o644, string(data))
	e.ModTime = image.ModTime(a.img)
	return a.tar.Write(a.ctx, e)
}
