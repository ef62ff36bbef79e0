// Package compress reads compressed streams, of whatever kind they are.
//
// Guarantees: what a stream is its first bytes tell, never a name or a media
// type; memory is bounded by windows and dictionaries of 128 MiB; a stream that
// is cut short or followed by garbage is an error, not an end; checksums are
// compared, where the format has any.
//
// Non-goals: bounding what comes out, which is for the caller; compressing.
package compress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Format is a way to compress.
type Format string

// The formats. None is anything else.
const (
	None  Format = "none"
	Gzip  Format = "gz"
	Zstd  Format = "zstd"
	Bzip2 Format = "bzip2"
	Xz    Format = "xz"
)

// Prefix is how many bytes of a stream Detect has to see.
const Prefix = 10

// maxWindow is the largest window of zstd and dictionary of xz that is held in
// memory: what the reference decoder of zstd takes without being asked for more,
// and twice what xz -9 needs.
const maxWindow = 128 << 20

// Detect tells by its first bytes how a stream is compressed.
func Detect(start []byte) Format {
	switch {
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		return Gzip
	case isZstd(start):
		return Zstd
	case isBzip2(start):
		return Bzip2
	case bytes.HasPrefix(start, []byte(xzMagic)):
		return Xz
	}
	return None
}

// isZstd knows frames and the skippable ones that may stand before them (RFC
// 8878, 3.1.1 and 3.1.2).
func isZstd(start []byte) bool {
	return bytes.HasPrefix(start, []byte("\x28\xb5\x2f\xfd")) ||
		len(start) >= 4 && start[0]&0xf0 == 0x50 && string(start[1:4]) == "\x2a\x4d\x18"
}

// isBzip2 looks at the first block's magic, too: a tar may begin with a file that
// is called BZh.
func isBzip2(start []byte) bool {
	if len(start) < 10 || string(start[:3]) != "BZh" || start[3] < '1' || start[3] > '9' {
		return false
	}
	block := string(start[4:10])
	return block == "1AY&SY" || block == "\x17rE8P\x90"
}

// NewReader returns what r holds without its compression, and which one that was.
// What is not compressed is passed through as None. Gzip may have several members and zeros behind them (RFC
// 1952 does not know these, gzip ignores them), zstd several frames and skippable
// ones (RFC 8878), bzip2 and xz several streams. Of xz it reads what
// has no filter but LZMA2.
//
// The reader takes more from r than it needs. Close frees what it holds; it does
// not close r.
func NewReader(r io.Reader) (io.ReadCloser, Format, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	start, err := in.Peek(Prefix)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	format := Detect(start)
	z, err := open(in, format)
	if err != nil {
		return nil, "", fmt.Errorf("decompress %s: %w", format.name(), noEOF(err))
	}
	if format == None {
		return z, None, nil
	}
	return &reader{z, format}, format, nil
}

func open(in *bufio.Reader, format Format) (io.ReadCloser, error) {
	switch format {
	case Gzip:
		return newGzip(in)
	case Zstd:
		// One goroutine, the caller's: closing never waits for a reader that stalls.
		z, err := zstd.NewReader(in,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow),
			zstd.WithDecodeBuffersBelow(0))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(in)), nil
	case Xz:
		z, err := newXz(in)
		return io.NopCloser(z), err
	}
	return io.NopCloser(in), nil
}

// name is what messages call a format.
func (f Format) name() string {
	if f == Gzip {
		return "gzip"
	}
	return string(f)
}

// noEOF turns the end of the input inside a stream into what it is.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// reader says what it was that failed.
type reader struct {
	io.ReadCloser
	format Format
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("decompress %s: %w", r.format.name(), err)
	}
	return n, err
}

// gzipReader reads one member after the other.
type gzipReader struct {
	in *bufio.Reader
	*gzip.Reader
}

func newGzip(in *bufio.Reader) (*gzipReader, error) {
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
	if n > 0 && err == io.EOF { // of a member; the next call looks for another
		err = nil
	}
	return n, err
}

// onlyZeros is io.EOF if nothing else follows.
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
