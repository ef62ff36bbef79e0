package layer

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// FormatVersion names the bytes that this package writes: the tar dialects
// and what each compression makes of them. A change that gives other bytes for
// the same input, an upgrade of the compressors included, is a change of the
// format and takes a new version; testdata/compress.golden is the witness.
const FormatVersion = "1"

// Algorithm is a way to compress, by the name that specs use.
type Algorithm string

// The algorithms.
const (
	None Algorithm = "none"
	Gzip Algorithm = "gz"
	Zstd Algorithm = "zstd"
)

// Levels that a Compression of level 0 stands for, and the highest ones.
//
// Measured over 250 MB of a Debian /usr/lib on two cores (bytes written, wall
// time): gz:6 35.5 %, 1.2 s; gz:7 34.9 %, 1.7 s; gz:8 34.6 %, 2.5 s; gz:9
// 34.6 %, 10.2 s; pigz -6 33.7 %, 3.9 s; zstd:3 33.4 %, 0.7 s; zstd:7 32.6 %,
// 1.2 s; zstd:19 29.9 %, 8.3 s.
const (
	defaultGzipLevel = 6
	maxGzipLevel     = 9
	defaultZstdLevel = 3
	maxZstdLevel     = 22
)

// The shape of the compressed streams. The bytes depend on these numbers, not
// on the machine's: a change of one is a change of the format.
const (
	// gzipBlock is how much input one gzip worker takes. Blocks of 1 MiB
	// would save 0.1 % and cost four times the memory.
	gzipBlock = 256 << 10
	// zstdWindow is how far back zstd looks; a worker takes four windows.
	zstdWindow = 1 << 20
	// zstdBestWindow is the same from level zstdBestLevel on, where who asks
	// wants the size and pays for it.
	zstdBestWindow = 4 << 20
	zstdBestLevel  = 10
)

// How many blocks are compressed at once, whatever the machine: memory is
// bounded by them. They do not show in the bytes, except that a single zstd
// worker would write others: two is the least.
const (
	maxGzipWorkers = 16
	minZstdWorkers = 2
	maxZstdWorkers = 4
)

// Compression is an algorithm and its level. The zero value is gzip at its
// default level, as a spec without a compressor means.
type Compression struct {
	Algorithm Algorithm
	// Level is 1 to 9 for gzip, 1 to 22 for zstd, 0 for the default (6 and 3)
	// and for no compression. Zstd's levels are the reference encoder's;
	// several of them give the same bytes here (1-2, 3-5, 6-9, 10-22).
	Level int
}

// ParseCompression reads what a spec or command line says: none, gz or zstd,
// the last two with a level if wanted, as in "gz:9" or "zstd:19".
func ParseCompression(s string) (Compression, error) {
	name, digits, leveled := strings.Cut(s, ":")
	c := Compression{Algorithm: Algorithm(name)}
	if name == "" {
		return Compression{}, unknownCompressor(s)
	}
	if leveled {
		n, err := strconv.Atoi(digits)
		if err != nil || strconv.Itoa(n) != digits || n == 0 {
			return Compression{}, fmt.Errorf("compressor %q: %q is not a level: give a number as in gz:9 or zstd:19", s, digits)
		}
		c.Level = n
	}
	if err := c.check(); err != nil {
		return Compression{}, err
	}
	return c, nil
}

func unknownCompressor(s string) error {
	return fmt.Errorf("unknown compressor %q: want none, gz or zstd, or with a level as in gz:9 or zstd:19", s)
}

func (c Compression) check() error {
	var top int
	switch c.algorithm() {
	case None:
		if c.Level != 0 {
			return fmt.Errorf("compressor %q: none takes no level", c.String())
		}
		return nil
	case Gzip:
		top = maxGzipLevel
	case Zstd:
		top = maxZstdLevel
	default:
		return unknownCompressor(c.String())
	}
	if c.Level < 0 || c.Level > top {
		return fmt.Errorf("compressor %q: want a level of 1 to %d", c.String(), top)
	}
	return nil
}

func (c Compression) algorithm() Algorithm {
	if c.Algorithm == "" {
		return Gzip
	}
	return c.Algorithm
}

// String returns what ParseCompression reads as c.
func (c Compression) String() string {
	if c.Level == 0 {
		return string(c.algorithm())
	}
	return string(c.algorithm()) + ":" + strconv.Itoa(c.Level)
}

// Ext returns the ending that a compressed file's name gets: "", ".gz" or
// ".zst".
func (c Compression) Ext() string {
	switch c.algorithm() {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}

// MediaType returns the media type of a layer compressed so (OCI image
// specification, layer.md).
func (c Compression) MediaType() string {
	switch c.algorithm() {
	case Gzip:
		return v1.MediaTypeImageLayerGzip
	case Zstd:
		return v1.MediaTypeImageLayerZstd
	}
	return v1.MediaTypeImageLayer
}

// NewWriter returns a writer that compresses into w.
//
// What w gets depends on the bytes written and on c alone, not on how they
// are cut into writes, nor on the number of cores. Gzip's header has no time,
// no name and operating system 255 (RFC 1952); zstd writes one frame with a
// checksum (RFC 8878).
//
// An error of w comes back from that or a later Write, or from Close. Close
// must be called in every case, also after an error: it ends the writer's
// goroutines. It does not close w.
func (c Compression) NewWriter(w io.Writer) (io.WriteCloser, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	out := &stickyWriter{w: w}
	cw := &compressWriter{out: out}
	switch c.algorithm() {
	case Gzip:
		z, err := newGzipWriter(out, c.Level)
		if err != nil {
			return nil, fmt.Errorf("start compressor %s: %w", c, err)
		}
		// Reset waits for the goroutines and ends the one that collects
		// blocks, which Close leaves waiting after an error.
		cw.enc, cw.release = z, func() { z.Reset(io.Discard) }
	case Zstd:
		z, err := newZstdWriter(out, c.Level)
		if err != nil {
			return nil, fmt.Errorf("start compressor %s: %w", c, err)
		}
		cw.enc, cw.release = z, func() {}
	default:
		cw.enc, cw.release = nopCloser{out}, func() {}
	}
	return cw, nil
}

func newGzipWriter(w io.Writer, level int) (*pgzip.Writer, error) {
	if level == 0 {
		level = defaultGzipLevel
	}
	z, err := pgzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	z.ModTime = time.Unix(0, 0) // the zero Time would be written, as a number
	return z, z.SetConcurrency(gzipBlock, min(runtime.GOMAXPROCS(0), maxGzipWorkers))
}

func newZstdWriter(w io.Writer, level int) (*zstd.Encoder, error) {
	if level == 0 {
		level = defaultZstdLevel
	}
	window := zstdWindow
	if level >= zstdBestLevel {
		window = zstdBestWindow
	}
	return zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(window),
		zstd.WithConcurrentBlocks(true),
		zstd.WithEncoderConcurrency(min(max(runtime.GOMAXPROCS(0), minZstdWorkers), maxZstdWorkers)),
		zstd.WithEncoderCRC(true),
		zstd.WithZeroFrames(true),
		zstd.WithSingleSegment(false),
		zstd.WithLowerEncoderMem(true))
}

var errWriterClosed = errors.New("write to a closed compressor")

// compressWriter is an encoder with only the methods that give the same bytes
// however they are called (zstd's ReadFrom starts a block of its own), and
// with an end that holds no goroutine.
type compressWriter struct {
	enc     io.WriteCloser
	out     *stickyWriter
	release func()
	err     error // the first error
	closed  bool
}

func (c *compressWriter) Write(p []byte) (int, error) {
	switch {
	case c.closed:
		return 0, errWriterClosed
	case c.err != nil:
		return 0, c.err
	}
	n, err := c.enc.Write(p)
	c.err = err
	return n, err
}

func (c *compressWriter) Close() error {
	if c.closed {
		return c.err
	}
	c.closed = true
	err := c.enc.Close()
	c.release()
	if c.err == nil {
		c.err = err
	}
	if c.err == nil { // no goroutine writes any more
		c.err = c.out.err
	}
	return c.err
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
