package ocilayout

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/tally"
)

const (
	// packers limits how many layers are compressed at once: each uses several processors, but
	// its first and last blocks leave some of them idle.
	packers = 2
	// waiting limits how many more may be compressed and wait for their turn.
	waiting = 2
)

// packer writes an image's blobs to files and hands them on in order.
type packer struct {
	// temp makes the file that a blob is written into.
	temp func() (*os.File, error)
	// take is given each blob once, in order. It does not close the file.
	take func(ctx context.Context, file *os.File, desc v1.Descriptor) error
	// has, where it is set, reports whether the place has a blob already, whole and undamaged, and
	// returns its first bytes.
	has func(ctx context.Context, desc v1.Descriptor) (start []byte, ok bool)
	// omit is Options.Omit, and stream, where it is set, takes a blob that is described already and
	// needs no file.
	omit   func(diffID digest.Digest, blob v1.Descriptor) bool
	stream func(ctx context.Context, b *image.Blob, desc v1.Descriptor) error

	busy  chan struct{}   // has an element for each blob that is being written
	turns []chan struct{} // one for each blob, closed when it is its turn to be taken
}

// run returns the descriptors of the image's layers. It leaves no file open.
func (p *packer) run(ctx context.Context, img image.Image, opts Options, observe func(image.Event)) ([]v1.Descriptor, error) {
	p.busy = make(chan struct{}, packers)
	p.turns = make([]chan struct{}, len(img.Layers())+1)
	for i := range p.turns {
		p.turns[i] = make(chan struct{})
	}
	close(p.turns[0])
	return image.Pack(ctx, img.Layers(), image.PackOptions{
		Compressor: opts.Compression, Parallel: packers + waiting, Memo: opts.Memo, Plain: opts.Plain, Observe: observe,
	}, p.put)
}

// put writes a blob to a file and hands it on when those before it have been.
func (p *packer) put(ctx context.Context, b *image.Blob) (v1.Descriptor, error) {
	if desc, ok := p.there(ctx, b); ok {
		if p.take == nil { // nothing is written at all
			return desc, nil
		}
		tally.From(ctx).Add(tally.Skipped, b.Layer, desc.Size, 0)
		return desc, p.inTurn(ctx, b, func() error { return nil })
	}
	if desc := b.Known; p.stream != nil && desc.Digest == b.DiffID() {
		desc.MediaType = b.MediaType()
		err := p.inTurn(ctx, b, func() error { return p.stream(ctx, b, desc) })
		tally.From(ctx).Add(tally.Sent, b.Layer, desc.Size, 0)
		return desc, err
	}
	file, err := p.temp()
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer file.Close()
	desc, err := p.write(ctx, file, b)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if err := p.inTurn(ctx, b, func() error { return p.take(ctx, file, desc) }); err != nil {
		return v1.Descriptor{}, err
	}
	tally.From(ctx).Add(tally.Sent, b.Layer, desc.Size, 0)
	return desc, file.Close()
}

// there describes a blob that the place has, so that the layer need not be read. A stored layer
// has to be known to unpack to what the config says: otherwise it is read to find out.
func (p *packer) there(ctx context.Context, b *image.Blob) (v1.Descriptor, bool) {
	if p.omit != nil {
		return p.omitted(b)
	}
	desc := b.Known
	if b.Stored.Digest != "" {
		if l, ok := b.Layer.(image.RememberedLayer); ok && l.Verified() {
			desc = b.Stored
		}
	}
	if desc.Digest == "" || p.has == nil {
		return desc, false
	}
	start, ok := p.has(ctx, desc)
	if b.Stored.Digest != "" {
		return passedOn(b.Stored, start), ok
	}
	desc.MediaType = b.MediaType()
	return desc, ok
}

// omitted describes a blob that is left out. It need not be known that a stored layer is what the
// config says: who has it has verified that.
func (p *packer) omitted(b *image.Blob) (v1.Descriptor, bool) {
	desc := b.Known
	if b.Stored.Digest != "" {
		desc = b.Stored
		desc.MediaType = ocijson.OCILayerType(desc.MediaType)
	} else {
		desc.MediaType = b.MediaType()
	}
	return desc, desc.Digest != "" && p.omit(b.DiffID(), desc)
}

// inTurn calls do when the blobs before b have been handed on.
func (p *packer) inTurn(ctx context.Context, b *image.Blob, do func() error) error {
	select {
	case <-p.turns[b.Number]:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := do(); err != nil {
		return err
	}
	close(p.turns[b.Number+1])
	return nil
}

// write writes a blob to a file and describes it: a stored one with the media type that its
// first bytes show.
func (p *packer) write(ctx context.Context, file *os.File, b *image.Blob) (v1.Descriptor, error) {
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	case <-ctx.Done():
		return v1.Descriptor{}, context.Cause(ctx)
	}
	if b.Stored.Digest != "" {
		return passOn(ctx, file, b)
	}
	m := &meter{w: file, hash: sha256.New()}
	err := b.Write(ctx, m)
	return v1.Descriptor{MediaType: b.MediaType(), Digest: digest.NewDigest(digest.SHA256, m.hash), Size: m.size}, err
}

func passOn(ctx context.Context, w io.Writer, b *image.Blob) (v1.Descriptor, error) {
	h := &head{w: w}
	if err := b.Write(ctx, h); err != nil {
		return v1.Descriptor{}, err
	}
	return passedOn(b.Stored, h.start), nil
}

// passedOn returns the descriptor of a stored blob with the media type that its first bytes show.
func passedOn(d v1.Descriptor, start []byte) v1.Descriptor {
	if a := compress.Detect(start); a.Writable() {
		d.MediaType = compress.Compression{Algorithm: a}.MediaType()
	}
	return d
}

// meter hashes and counts what it passes on.
type meter struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.hash.Write(p[:n])
	m.size += int64(n)
	return n, err
}

// head keeps the first bytes of what it passes on.
type head struct {
	w     io.Writer
	start []byte
}

func (h *head) Write(p []byte) (int, error) {
	if missing := compress.Prefix - len(h.start); missing > 0 {
		h.start = append(h.start, p[:min(len(p), missing)]...)
	}
	return h.w.Write(p)
}
