package image

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
)

// PackOptions says how layers become blobs. The zero value compresses with gzip, one layer
// at a time.
type PackOptions struct {
	// Compressor compresses the layers that are not passed on as they are stored; nil is gzip.
	Compressor Compressor
	// Recompress compresses stored layers anew too, except those that are kept elsewhere, at
	// their urls.
	Recompress bool
	// Parallel limits how many blobs are written at once; it defaults to 1.
	Parallel int
	// Memo, where it is set, remembers what layers are compressed to.
	Memo Memo
	// Plain compresses only the layers whose compressed form the memo knows: all others are their
	// tars, and every blob is Known.
	Plain bool
	// Observe, where it is set, is called for each layer, by one goroutine at a time.
	Observe func(Event)
}

// Memo remembers what layers are compressed to, from one program to the next. It may forget
// anything at any time; what it returns is believed. Its methods may be called by several
// goroutines.
type Memo interface {
	// Blob returns the digest and size of what a compressor, by its CompressorText, makes of the
	// tar with a diffID, and KeepBlob remembers them.
	Blob(diffID digest.Digest, compressor string) (v1.Descriptor, bool)
	KeepBlob(diffID digest.Digest, compressor string, d v1.Descriptor)
	// Open opens a blob that was kept, after it has compared its digest and size.
	Open(ctx context.Context, d v1.Descriptor) (*os.File, error)
	// Keep keeps the blob that fill writes, and returns its digest and size.
	Keep(ctx context.Context, fill func(io.Writer) error) (v1.Descriptor, error)
}

// Compressor compresses layers. Its output depends on its input alone, and on its text if it is
// a fmt.Stringer: what it makes can then be remembered.
type Compressor interface {
	// NewWriter returns a writer that compresses to w. Close writes what it has held back;
	// when ctx is done, as it is after an error, Close returns at once and writes nothing.
	NewWriter(ctx context.Context, w io.Writer) (io.WriteCloser, error)
	// MediaType returns the media type of a layer compressed this way.
	MediaType() string
}

// Blob is a layer on its way to a place that keeps layers as manifests list them.
type Blob struct {
	Layer Layer
	// Number counts the different blobs, from 0.
	Number int
	// Stored describes a layer that is passed on byte for byte. Its digest is empty where the
	// layer is yet to be compressed: it is known only after Write.
	Stored v1.Descriptor
	// Known has the digest and size of what Write writes of a layer that is yet to be compressed,
	// where the memo knows them; otherwise its digest is empty.
	Known v1.Descriptor

	compressor Compressor
	memo       Memo
	info       layer.Info // of a layer that is compressed
}

// MediaType returns the media type of what Write writes, as far as it is known in advance: a
// stored layer may be compressed in another way than its descriptor says.
func (b *Blob) MediaType() string {
	if b.Stored.Digest != "" {
		return b.Stored.MediaType
	}
	return b.compressor.MediaType()
}

// DiffID returns the digest of the layer's tar; a stored layer's is what the config says.
func (b *Blob) DiffID() digest.Digest {
	if b.Stored.Digest != "" {
		return b.Layer.(StoredLayer).TarDigest()
	}
	return b.info.DiffID
}

// Write writes the blob to w. It may be called again, and writes the same bytes then. The layer
// is checked while it is read: a stored one against its descriptor, and any other against its
// diffID in the config.
func (b *Blob) Write(ctx context.Context, w io.Writer) error {
	if b.Stored.Digest != "" {
		return b.copyStored(ctx, w, b.Layer.(StoredLayer))
	}
	if b.memo == nil {
		return b.compress(ctx, w)
	}
	written, err := b.copyKnown(ctx, w)
	if err != nil || b.Known.Digest != "" && written == b.Known.Size {
		return err
	}
	rest := &skipper{w, written} // which has the same bytes again
	d, err := b.memo.Keep(ctx, func(kept io.Writer) error { return b.compress(ctx, io.MultiWriter(rest, kept)) })
	if err == nil {
		b.memo.KeepBlob(b.info.DiffID, CompressorText(b.compressor), d)
	}
	return err
}

func (b *Blob) copyStored(ctx context.Context, w io.Writer, l StoredLayer) error {
	r, err := l.OpenStored(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return b.copyTo(ctx, w, r, b.Stored.Size)
}

func (b *Blob) copyTo(ctx context.Context, w io.Writer, r io.Reader, size int64) error {
	step := tally.Begin(ctx, "copying", b.Layer.Title(), size)
	defer step.End()
	// The struct hides methods that would take the copy away from the context.
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, ctxio.Reader(ctx, io.TeeReader(r, step)), make([]byte, 1<<20))
	return err
}

// compress writes the layer's tar through the compressor and hashes it on its way.
func (b *Blob) compress(ctx context.Context, w io.Writer) error {
	what, isTar := "compressing", b.compressor.MediaType() == v1.MediaTypeImageLayer
	if isTar {
		what = "writing"
	}
	step := tally.Begin(ctx, what, b.Layer.Title(), b.info.Size)
	defer step.End()
	return compress.Fill(ctx, w, b.compressor.NewWriter, func(z io.Writer) error {
		tar := &hashingWriter{ctx: ctx, w: z, hash: sha256.New(), step: step}
		if err := b.Layer.Write(ctx, tar); err != nil {
			return err
		}
		if got := digest.NewDigest(digest.SHA256, tar.hash); got != b.info.DiffID {
			what := fmt.Sprintf("layer of %s, when it was read again", b.Layer.Title())
			return &layer.DigestError{What: what, Want: b.info.DiffID, Got: got}
		}
		if !isTar {
			tally.From(ctx).Add(tally.Compressed, b.Layer, b.info.Size, 0)
		}
		return nil
	})
}

// hashingWriter hashes what it passes on. It fails when ctx is done.
type hashingWriter struct {
	ctx  context.Context
	w    io.Writer
	hash hash.Hash
	step *tally.Step
}

func (h *hashingWriter) Write(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.w.Write(p)
	h.hash.Write(p[:n])
	h.step.Add(n)
	return n, err
}

// Pack calls put for each different blob of the layers, several at once and in their order, and
// returns the descriptors that put returned, one for each layer. Stored layers are identified by
// their blobs' digests, all others by their diffIDs, which are computed ahead. A layer that is
// there twice is put once.
func Pack(ctx context.Context, layers []Layer, opts PackOptions, put func(context.Context, *Blob) (v1.Descriptor, error)) ([]v1.Descriptor, error) {
	if opts.Compressor == nil {
		opts.Compressor = compress.Compression{}
	}
	if opts.Observe != nil {
		ctx = tally.With(ctx)
	}
	p := &packer{from: layers, opts: opts, put: put, tally: tally.From(ctx)}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(max(1, opts.Parallel) + 1)
	tasks.Go(func() error { return p.start(ctx, tasks) })
	if err := tasks.Wait(); err != nil {
		return nil, err
	}
	descs := make([]v1.Descriptor, len(p.layers))
	for i, j := range p.layers {
		descs[i] = j.desc
	}
	return descs, nil
}

type packer struct {
	from      []Layer
	opts      PackOptions
	put       func(context.Context, *Blob) (v1.Descriptor, error)
	tally     *tally.Tally
	observing sync.Mutex
	layers    []*job // one for each of the image's layers
}

// job is a blob being written.
type job struct {
	blob *Blob
	desc v1.Descriptor
}

// start finds out which layers are the same, one after the other, and has each new one put
// as a task.
func (p *packer) start(ctx context.Context, tasks *errgroup.Group) error {
	seen := map[digest.Digest]*job{}
	for i, l := range p.from {
		b, id, size, err := p.blob(ctx, l)
		if err != nil {
			return layerError(i, l, err)
		}
		j := seen[id]
		if j != nil {
			p.layers = append(p.layers, j)
			p.observe(i, l, size, false)
			p.observe(i, l, size, true)
			continue
		}
		b.Number = len(seen)
		j = &job{blob: b}
		seen[id] = j
		p.layers = append(p.layers, j)
		if err := context.Cause(ctx); err != nil {
			return err
		}
		tasks.Go(func() (err error) {
			p.observe(i, l, size, false)
			if j.desc, err = p.put(ctx, b); err == nil {
				err = b.annotate(ctx, &j.desc)
			}
			if err != nil {
				return layerError(i, l, err)
			}
			p.observe(i, l, size, true)
			return nil
		})
	}
	return nil
}

// layerError says which layer an error is about, as people count and know them.
func layerError(i int, l Layer, err error) error {
	return fmt.Errorf("layer %d (%q): %w", i+1, l.Title(), err)
}

// blob describes the blob of a layer; id is the same for layers that are the same. The diffID
// that a config claims for a stored layer is not known to be true, so it cannot be that id. The
// size is the blob's for a layer that is passed on, and otherwise the tar's.
func (p *packer) blob(ctx context.Context, l Layer) (b *Blob, id digest.Digest, size int64, err error) {
	b = &Blob{Layer: l, compressor: p.opts.Compressor}
	if e, ok := l.(StoredLayer); ok && e.Stored().Digest != "" && (!p.opts.Recompress || len(e.Stored().URLs) > 0) {
		b.Stored = e.Stored()
		return b, b.Stored.Digest, b.Stored.Size, nil
	}
	if b.info, err = l.Info(ctx); err != nil {
		return nil, "", 0, err
	}
	if text := CompressorText(b.compressor); text != "" && p.opts.Memo != nil {
		b.memo = p.opts.Memo
		b.Known, _ = b.memo.Blob(b.info.DiffID, text)
	}
	if p.opts.Plain && b.Known.Digest == "" {
		b.compressor, b.memo = compress.Compression{Algorithm: compress.None}, nil
		b.Known = v1.Descriptor{Digest: b.info.DiffID, Size: b.info.Size}
	}
	return b, b.info.DiffID, b.info.Size, nil
}

func (p *packer) observe(i int, l Layer, size int64, done bool) {
	if p.opts.Observe == nil {
		return
	}
	p.observing.Lock()
	defer p.observing.Unlock()
	p.opts.Observe(Event{Layer: i + 1, Layers: len(p.from), Title: l.Title(), Size: size, Done: done, Work: Work(p.tally.Work(l))})
}
