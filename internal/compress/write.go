package compress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// NewWriter returns a writer that compresses into w.
//
// An error of w comes back from that or a later Write, or from Close. Close
// must be called in every case, also after an error: it ends the writer's
// goroutines. It does not close w.
//
// Once ctx is done, or w has failed, Write and Close do not wait for what is
// being compressed. It goes nowhere: w is not written to after Close. The
// goroutines end by themselves, after the blocks that they have begun.
func (c Compression) NewWriter(ctx context.Context, w io.Writer) (io.WriteCloser, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	out := &output{w: w, failed: make(chan struct{})}
	enc, err := takeEncoder(c, out)
	if err != nil {
		return nil, fmt.Errorf("start compressor %s: %w", c, err)
	}
	return newWriter(ctx, enc, out), nil
}

// Fill calls fill to write into w through the compressor, or straight into w without
// compression.
func (c Compression) Fill(ctx context.Context, w io.Writer, fill func(io.Writer) error) error {
	if c.Algorithm == None {
		return fill(w)
	}
	return Fill(ctx, w, c.NewWriter, fill)
}

// Fill calls fill to write into w through the writer that start returns. After an
// error nobody wants what is still being compressed: the writer's context is done.
func Fill(ctx context.Context, w io.Writer, start func(context.Context, io.Writer) (io.WriteCloser, error), fill func(io.Writer) error) error {
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	z, err := start(ctx, w)
	if err != nil {
		return err
	}
	if err := fill(z); err != nil {
		abandon()
		z.Close()
		return err
	}
	return z.Close()
}

var errWriterClosed = errors.New("write to a closed compressor")

// An encoder is used by one goroutine, but may write from others.
type encoder interface {
	// Close ends the stream. The encoder is not used after it, but may be kept for another one.
	io.WriteCloser
	// drop ends the encoder's goroutines, without compressing what it holds.
	drop()
}

// bufferSize is how many bytes are passed on to an encoder at once.
const bufferSize = 256 << 10

// writer passes what is written on to a goroutine, which alone uses the encoder: the
// encoders wait for blocks that they compress, and know no context. The bytes are the
// same however they are cut (zstd's ReadFrom, which would start a block, is never used).
type writer struct {
	ctx context.Context
	out *output
	// Two buffers go round: free ones, the one that Write fills, and full ones. The
	// channels have room for both, so that only a receiver ever waits.
	free, full chan []byte
	buf        []byte
	done       chan struct{} // closed when the encoder has ended
	closed     bool
	err        error // of Close
}

func newWriter(ctx context.Context, enc encoder, out *output) *writer {
	w := &writer{ctx: ctx, out: out, free: make(chan []byte, 2), full: make(chan []byte, 2), done: make(chan struct{})}
	w.free <- nil
	w.free <- nil
	go w.encode(enc)
	return w
}

// encode compresses until Close, or until there is an error.
func (w *writer) encode(enc encoder) {
	defer close(w.done)
	for p := range w.full {
		if w.out.hasFailed() {
			continue
		}
		if _, err := enc.Write(p); err != nil {
			w.out.fail(err)
		}
		w.free <- p[:0]
	}
	w.giveBuffers()
	if w.out.hasFailed() {
		enc.drop()
	} else if err := enc.Close(); err != nil {
		w.out.fail(err)
	}
}

func (w *writer) Write(p []byte) (n int, err error) {
	if w.closed {
		return 0, errWriterClosed
	}
	for len(p) > 0 {
		if w.buf == nil {
			if w.buf, err = w.buffer(); err != nil {
				return n, err
			}
		}
		part := p[:min(len(p), cap(w.buf)-len(w.buf))]
		w.buf = append(w.buf, part...)
		n, p = n+len(part), p[len(part):]
		if len(w.buf) == cap(w.buf) {
			w.full <- w.buf
			w.buf = nil
		}
	}
	return n, nil
}

// buffer waits for a free buffer.
func (w *writer) buffer() ([]byte, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	case <-w.out.failed:
		return nil, w.out.err
	case buf := <-w.free:
		if buf == nil {
			buf = buffers.Get().(*[bufferSize]byte)[:0]
		}
		return buf, nil
	}
}

// buffers has those that no stream uses now.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// giveBuffers gives back the buffers, all of which are free at the end.
func (w *writer) giveBuffers() {
	for range cap(w.free) {
		select {
		case buf := <-w.free:
			if buf != nil {
				buffers.Put((*[bufferSize]byte)(buf[:bufferSize]))
			}
		default: // one is lost after an error
		}
	}
}

func (w *writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if err := w.ctx.Err(); err != nil {
		w.out.fail(err) // before encode sees the end, which it would compress
	}
	if len(w.buf) > 0 {
		w.full <- w.buf
	}
	close(w.full)
	select {
	case <-w.done:
	case <-w.out.failed:
	case <-w.ctx.Done():
		w.out.fail(w.ctx.Err())
	}
	if w.out.hasFailed() {
		w.err = w.out.err
	}
	return w.err
}

// output is where an encoder writes to. The first error ends it for good: an error of
// w, a write of w that takes less than it was given, or one that fail is told.
type output struct {
	mu     sync.Mutex
	w      io.Writer
	failed chan struct{} // closed when err is set
	err    error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	o.set(err)
	return n, err
}

// fail keeps w from being written to from now on. It waits for a write that is under way.
func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set(err)
}

func (o *output) set(err error) {
	if err != nil && o.err == nil {
		o.err = err
		close(o.failed)
	}
}

func (o *output) hasFailed() bool {
	select {
	case <-o.failed:
		return true
	default:
		return false
	}
}

// plain is the encoder that does not compress.
type plain struct{ io.Writer }

func (plain) Close() error { return nil }
func (plain) drop()        {}
