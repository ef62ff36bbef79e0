package dockerarchive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
)

// packing is how many layers are compressed at once. A compressor uses several processors, and
// memory for each, but a layer that is smaller than what it gives one of them keeps only one busy.
const packing = 2

// packer compresses the layers of an archive.
type packer struct {
	opts  Options
	memo  image.Memo // nil for none
	name  string     // the compressor's, in the memo
	slots chan struct{}

	mu sync.Mutex
	// tars has the tars that the archive has by now.
	tars map[digest.Digest]layer.Info
}

func newPacker(opts Options) *packer {
	p := &packer{opts: opts, slots: make(chan struct{}, packing), tars: map[digest.Digest]layer.Info{}}
	if p.name = image.CompressorText(opts.Compressor); p.name != "" {
		p.memo = opts.Memo
	}
	return p
}

// written notes that the archive has a layer, which does not have to be compressed again.
func (p *packer) written(info layer.Info) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tars[info.DiffID] = info
}

func (p *packer) has(id digest.Digest) (layer.Info, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, ok := p.tars[id]
	return info, ok
}

// compressedLayer is a layer that is compressed when its digest is first needed: to a file without a name,
// because that digest comes before it in the archive. Content is read only once then. What the
// memo has is taken from there.
type compressedLayer struct {
	image.Layer
	by *packer

	mu   sync.Mutex
	info *layer.Info
	file *os.File // the compressed tar; nil before, and after free
}

// Info returns the layer's digest and size. The first call compresses the layer.
func (p *compressedLayer) Info(ctx context.Context) (layer.Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.info == nil {
		info, ok := p.inArchive()
		if !ok {
			var err error
			if info, err = p.pack(ctx); err != nil {
				return layer.Info{}, err
			}
		}
		p.info = &info
	}
	return *p.info, nil
}

// inArchive reports whether the archive has the layer already, of an image before this one.
func (p *compressedLayer) inArchive() (layer.Info, bool) {
	stored, ok := p.Layer.(image.StoredLayer)
	if !ok || p.by.opts.RepeatLayers {
		return layer.Info{}, false
	}
	return p.by.has(stored.TarDigest())
}

// pack opens the compressed tar, and returns what is known of the tar.
func (p *compressedLayer) pack(ctx context.Context) (layer.Info, error) {
	if p.by.memo != nil {
		if info, ok, err := p.recall(ctx); ok || err != nil {
			return info, err
		}
	}
	select {
	case p.by.slots <- struct{}{}:
	case <-ctx.Done():
		return layer.Info{}, context.Cause(ctx)
	}
	defer func() { <-p.by.slots }()
	file, err := atomicfile.Unnamed(p.by.opts.TempDir)
	if err != nil {
		return layer.Info{}, err
	}
	info, err := p.compressInto(ctx, file)
	if err != nil {
		file.Close()
		return layer.Info{}, err
	}
	p.file = file
	return info, nil
}

// recall opens the compressed tar that the memo has, if it has it.
func (p *compressedLayer) recall(ctx context.Context) (info layer.Info, ok bool, err error) {
	if once, isOnce := p.Layer.(image.OnceLayer); isOnce && once.Unread() {
		return info, false, nil // finding out its digest costs what WriteOnce costs
	}
	if info, err = p.Layer.Info(ctx); err != nil {
		return info, false, err
	}
	d, ok := p.by.memo.Blob(info.DiffID, p.by.name)
	if !ok {
		return info, false, nil
	}
	file, err := p.by.memo.Open(ctx, d)
	if err != nil {
		return info, false, ctx.Err()
	}
	p.file = file
	tally.From(ctx).Add(tally.Reused, p.Layer, info.Size, 0)
	return info, true, nil
}

// compressInto compresses the layer to a file, and to the memo.
func (p *compressedLayer) compressInto(ctx context.Context, file io.Writer) (info layer.Info, err error) {
	if p.by.memo == nil {
		return p.compress(ctx, file)
	}
	d, err := p.by.memo.Keep(ctx, func(kept io.Writer) (err error) {
		info, err = p.compress(ctx, io.MultiWriter(file, kept))
		return err
	})
	if err != nil {
		return layer.Info{}, err
	}
	p.by.memo.KeepBlob(info.DiffID, p.by.name, d)
	return info, nil
}

// compress compresses the layer to w.
func (p *compressedLayer) compress(ctx context.Context, w io.Writer) (info layer.Info, err error) {
	err = compress.Fill(ctx, w, p.by.opts.Compressor.NewWriter, func(z io.Writer) (err error) {
		if once, ok := p.Layer.(image.OnceLayer); ok && once.Unread() {
			c := &counter{w: z, step: tally.Begin(ctx, "compressing", p.Title(), 0)}
			defer c.step.End()
			info, err = once.WriteOnce(ctx, c)
		} else {
			info, err = p.writeHashed(ctx, z)
		}
		return err
	})
	if err == nil {
		tally.From(ctx).Add(tally.Compressed, p.Layer, info.Size, 0)
	}
	return info, err
}

// writeHashed writes a layer whose digest is known, and compares that: others may believe the
// memo.
func (p *compressedLayer) writeHashed(ctx context.Context, w io.Writer) (layer.Info, error) {
	info, err := p.Layer.Info(ctx)
	if err != nil {
		return layer.Info{}, err
	}
	sum := sha256.New()
	if err := writeSized(ctx, io.MultiWriter(w, sum), p.Layer, info.Size, "compressing"); err != nil {
		return layer.Info{}, err
	}
	if got := digest.NewDigest(digest.SHA256, sum); got != info.DiffID {
		what := fmt.Sprintf("layer of %s, when it was read again", p.Title())
		return layer.Info{}, &layer.DigestError{What: what, Want: info.DiffID, Got: got}
	}
	return info, nil
}

// writePacked writes the compressed tar.
func (p *compressedLayer) writePacked(ctx context.Context, w io.Writer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil { // the archive has it, but not under this name
		if _, err := p.pack(ctx); err != nil {
			return err
		}
	}
	return copyFile(ctx, w, p.file)
}

// free releases the file's space.
func (p *compressedLayer) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file != nil {
		p.file.Close()
		p.file = nil
	}
}

// copyFile copies a file from its beginning to its end, within the kernel where that can be.
func copyFile(ctx context.Context, w io.Writer, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if n, err := io.CopyN(w, f, chunk); n < chunk {
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
}
