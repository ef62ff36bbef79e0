package ocilayout

import (
	"bufio"
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

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/layer"
)

const (
	// packers is how many layers are compressed at once: each uses several
	// processors, but its first and last blocks leave some of them idle.
	packers = 2
	// waiting is how many more may be compressed and wait for their turn.
	waiting = 2
)

// packer compresses an image's layers and hands them on in order.
type packer struct {
	img  *image.Image
	opts Options
	// temp makes the file that a layer is compressed into.
	temp func() (*os.File, error)
	// take is given each layer once, in order. It does not close the file.
	take func(ctx context.Context, file *os.File, desc v1.Descriptor) error

	observing sync.Mutex
	jobs      []*job // the distinct layers, in order
	layers    []*job // one for each of the image's layers
}

// job is a layer on its way.
type job struct {
	layer image.Layer
	index int
	info  layer.Info
	done  chan *os.File // gets one, unless compressing fails
	desc  v1.Descriptor // set before done
}

// run returns the descriptors of the image's layers. A layer that is there
// twice is compressed and taken once. It leaves no file open.
func (p *packer) run(ctx context.Context) ([]v1.Descriptor, error) {
	tasks, ctx := errgroup.WithContext(ctx)
	queue := make(chan *job, waiting)
	tasks.Go(func() error { return p.start(ctx, tasks, queue) })
	tasks.Go(func() error { return p.hand(ctx, queue) })
	err := tasks.Wait()
	for _, j := range p.jobs {
		select {
		case file := <-j.done: // nobody took it
			file.Close()
		default:
		}
	}
	if err != nil {
		return nil, err
	}
	descs := make([]v1.Descriptor, len(p.layers))
	for i, j := range p.layers {
		descs[i] = j.desc
	}
	return descs, nil
}

// start computes the layers' digests one after the other, ahead of the
// compression, and has each new layer compressed as a task.
func (p *packer) start(ctx context.Context, tasks *errgroup.Group, queue chan<- *job) error {
	defer close(queue)
	busy := make(chan struct{}, packers)
	seen := map[digest.Digest]*job{}
	for i, l := range p.img.Layers {
		info, err := known(ctx, l)
		if err != nil {
			return fmt.Errorf("read layer %d: %w", i+1, err)
		}
		// What the config claims of a stored layer is not known to be true.
		id := info.DiffID
		if e, ok := stored(l); ok {
			id = e.Stored().Digest
		}
		j := seen[id]
		if j != nil {
			p.layers = append(p.layers, j)
			p.observe(i, l, info, false)
			p.observe(i, l, info, true)
			continue
		}
		j = &job{layer: l, index: i, info: info, done: make(chan *os.File, 1)}
		seen[id] = j
		p.jobs, p.layers = append(p.jobs, j), append(p.layers, j)
		select {
		case queue <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case busy <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		tasks.Go(func() error {
			defer func() { <-busy }()
			return p.pack(ctx, j)
		})
	}
	return nil
}

// hand gives the layers to take as they get ready.
func (p *packer) hand(ctx context.Context, queue <-chan *job) error {
	for j := range queue {
		select {
		case file := <-j.done:
			err := p.take(ctx, file, j.desc)
			if closeErr := file.Close(); err == nil {
				err = closeErr
			}
			if err != nil {
				return err
			}
			p.observe(j.index, j.layer, j.info, true)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// pack compresses one layer into a file of its own.
func (p *packer) pack(ctx context.Context, j *job) error {
	p.observe(j.index, j.layer, j.info, false)
	file, err := p.temp()
	if err != nil {
		return err
	}
	if l, ok := stored(j.layer); ok {
		j.desc, err = passOn(ctx, file, l)
	} else {
		j.desc, err = packLayer(ctx, file, j, p.opts.Compression)
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("write layer %d: %w", j.index+1, err)
	}
	j.done <- file
	return nil
}

func (p *packer) observe(i int, l image.Layer, info layer.Info, done bool) {
	if p.opts.Observe == nil {
		return
	}
	p.observing.Lock()
	defer p.observing.Unlock()
	p.opts.Observe(image.Event{Layer: i + 1, Layers: len(p.img.Layers), Title: l.Title(), Size: info.Size, Done: done})
}

// stored tells a layer that is at hand as a manifest describes it. It is passed
// on as it is, whatever its compression.
func stored(l image.Layer) (image.ExistingLayer, bool) {
	e, ok := l.(image.ExistingLayer)
	return e, ok && e.Stored().Digest != ""
}

// known is what there is to know of a layer. One that is stored need not be
// read for that; its size is then that of the blob.
func known(ctx context.Context, l image.Layer) (layer.Info, error) {
	if e, ok := stored(l); ok {
		return layer.Info{DiffID: e.TarDigest(), Size: e.Stored().Size}, nil
	}
	return l.Info(ctx)
}

// passOn copies a stored layer to w and returns its descriptor, with the media
// type that the blob's first bytes tell.
func passOn(ctx context.Context, w io.Writer, l image.ExistingLayer) (v1.Descriptor, error) {
	r, err := l.OpenStored(ctx)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer r.Close()
	in := bufio.NewReaderSize(ctxio.Reader(ctx, r), 1<<20)
	start, err := in.Peek(compress.Prefix)
	if err != nil && err != io.EOF {
		return v1.Descriptor{}, err
	}
	d := l.Stored()
	if a := compress.Detect(start); a.Writable() {
		d.MediaType = compress.Compression{Algorithm: a}.MediaType()
	}
	_, err = in.WriteTo(struct{ io.Writer }{w})
	return d, err
}

// packLayer writes the layer to w and returns its descriptor. The media type
// is that of the bytes written, because they are written here. The tar is
// hashed on its way: the config says what it has to be.
func packLayer(ctx context.Context, w io.Writer, j *job, c compress.Compression) (v1.Descriptor, error) {
	packed := newMeter(ctx, w)
	z, err := c.NewWriter(packed)
	if err != nil {
		return v1.Descriptor{}, err
	}
	plain := newMeter(ctx, z)
	err = j.layer.Write(ctx, plain)
	if closeErr := z.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	if got := plain.digest(); got != j.info.DiffID {
		what := fmt.Sprintf("layer of %s, when it was read again", j.layer.Title())
		return v1.Descriptor{}, &layer.DigestError{What: what, Want: j.info.DiffID, Got: got}
	}
	return v1.Descriptor{MediaType: c.MediaType(), Digest: packed.digest(), Size: packed.size}, nil
}

// meter hashes and counts what it passes on. It fails when ctx is done.
type meter struct {
	ctx  context.Context
	w    io.Writer
	hash hash.Hash
	size int64
}

func newMeter(ctx context.Context, w io.Writer) *meter {
	return &meter{ctx: ctx, w: w, hash: sha256.New()}
}

func (m *meter) Write(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.w.Write(p)
	m.hash.Write(p[:n])
	m.size += int64(n)
	return n, err
}

func (m *meter) digest() digest.Digest { return digest.NewDigest(digest.SHA256, m.hash) }
