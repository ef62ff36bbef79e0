package compress

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/pgzip"
)

// The shape of the output. The bytes depend on the size of blocks, so changing it
// changes the format; the number of workers limits memory, whatever the machine,
// and does not show in the bytes.
const (
	// gzipBlock is how much input one worker takes. Blocks of 1 MiB would save 0.1
	// % and cost four times the memory.
	gzipBlock      = 256 << 10
	maxGzipWorkers = 16
)

// gzipWriter writes one member without a name or a time, by operating system
// 255 (RFC 1952).
type gzipWriter struct{ *pgzip.Writer }

func writeGzip(w io.Writer, level int) (encoder, error) {
	z, err := pgzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	return gzipWriter{z}, gzipWriter{z}.shape()
}

// shape sets what Reset forgets.
func (z gzipWriter) shape() error {
	z.ModTime = time.Unix(0, 0) // the zero Time would be written, as a number
	return z.SetConcurrency(gzipBlock, min(runtime.GOMAXPROCS(0), maxGzipWorkers))
}

func (z gzipWriter) restart(w io.Writer) {
	z.Reset(w)
	_ = z.shape() // as when it was made
}

// Close ends the member. The module's Close leaves a goroutine waiting after an error.
func (z gzipWriter) Close() error {
	err := z.Writer.Close()
	z.drop()
	return err
}

// drop waits for the blocks that are being compressed, and ends the goroutine that
// collects them. The block that is being filled is not one of them.
func (z gzipWriter) drop() { z.Reset(io.Discard) }

// gzipReader reads one member after the other.
type gzipReader struct {
	in *bufio.Reader
	*gzip.Reader
}

func readGzip(in *bufio.Reader) (io.ReadCloser, error) {
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &gzipReader{in, z}, nil
}

func (g *gzipReader) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	for n == 0 && err == io.EOF {
		next, peekErr := g.in.Peek(1)
		switch {
		case peekErr != nil:
			return 0, peekErr // io.EOF is the end
		case next[0] == 0:
			return 0, onlyZeros(g.in)
		}
		if err = g.Reset(g.in); err != nil {
			return 0, noEOF(err)
		}
		g.Multistream(false)
		n, err = g.Reader.Read(p)
	}
	if n > 0 && err == io.EOF { // the end of the member; the next call looks for another
		err = nil
	}
	return n, err
}

// onlyZeros returns io.EOF if nothing but zeros follows.
func onlyZeros(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return errors.New("more than zeros follow after its end")
		}
		if err != nil {
			return err
		}
	}
}
