package compress

import (
	"cmp"
	"errors"
	"fmt"
	"io"
)

// NewWriter returns a writer that compresses into w.
//
// An error of w comes back from that or a later Write, or from Close. Close
// must be called in every case, also after an error: it ends the writer's
// goroutines. It does not close w.
func (c Compression) NewWriter(w io.Writer) (io.WriteCloser, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	f, _ := c.algorithm().format()
	out := &stickyWriter{w: w}
	enc, err := f.write(out, cmp.Or(c.Level, f.level))
	if err != nil {
		return nil, fmt.Errorf("start compressor %s: %w", c, err)
	}
	return &writer{enc: enc, out: out}, nil
}

// Fill calls fill to write into w through the compressor, or straight into w without
// compression.
func (c Compression) Fill(w io.Writer, fill func(io.Writer) error) error {
	if c.Algorithm == None {
		return fill(w)
	}
	z, err := c.NewWriter(w)
	if err != nil {
		return err
	}
	if err := fill(z); err != nil {
		z.Close()
		return err
	}
	return z.Close()
}

var errWriterClosed = errors.New("write to a closed compressor")

// writer is an encoder with only the methods that give the same bytes however
// they are called (zstd's ReadFrom starts a block of its own).
type writer struct {
	enc    io.WriteCloser
	out    *stickyWriter
	err    error // the first error
	closed bool
}

func (w *writer) Write(p []byte) (int, error) {
	switch {
	case w.closed:
		return 0, errWriterClosed
	case w.err != nil:
		return 0, w.err
	}
	n, err := w.enc.Write(p)
	w.err = err
	return n, err
}

func (w *writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	err := w.enc.Close()
	if w.err == nil {
		w.err = err
	}
	if w.err == nil { // no goroutine writes any more
		w.err = w.out.err
	}
	return w.err
}

// stickyWriter fails for good once w has failed or taken less than it was
// given. The encoders write from one goroutine at a time.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	s.err = err
	return n, err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
