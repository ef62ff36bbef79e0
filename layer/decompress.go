package layer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the largest window that NewReader holds in memory for a
// zstd stream: what the reference decoder takes without being asked for more.
const maxZstdWindow = 128 << 20

// NewReader returns what r holds without its compression, and which one that
// was: by the first bytes, never by a name or a media type. Gzip may have
// several members, zstd several frames and skippable ones (RFC 1952, RFC
// 8878); anything else is passed through as None.
//
// How much comes out is for the caller to bound; memory is bounded here, by a
// zstd window of at most 128 MiB. A stream that is cut short or followed by
// garbage is an error, not an end. The reader takes more from r than it
// needs. Close frees what it holds; it does not close r.
func NewReader(r io.Reader) (io.ReadCloser, Algorithm, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	switch Detect(magic) {
	case Gzip:
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, "", fmt.Errorf("decompress gzip: %w", noEOF(err))
		}
		return &decompressReader{r: z, close: z.Close, name: "gzip"}, Gzip, nil
	case Zstd:
		// One goroutine, the caller's: closing never waits for a reader that
		// stalls.
		z, err := zstd.NewReader(br,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxZstdWindow),
			zstd.WithDecodeBuffersBelow(0))
		if err != nil {
			return nil, "", fmt.Errorf("decompress zstd: %w", noEOF(err))
		}
		return &decompressReader{r: z, close: func() error { z.Close(); return nil }, name: "zstd"}, Zstd, nil
	}
	return io.NopCloser(br), None, nil
}

// Detect tells by its first four bytes how a stream is compressed.
func Detect(magic []byte) Algorithm {
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return Gzip
	case isZstd(magic):
		return Zstd
	}
	return None
}

// isZstd reports whether a stream that begins so is a zstd frame or a
// skippable one (RFC 8878, 3.1.1 and 3.1.2).
func isZstd(magic []byte) bool {
	if len(magic) < 4 {
		return false
	}
	skippable := magic[0]&0xf0 == 0x50 && magic[1] == 0x2a && magic[2] == 0x4d && magic[3] == 0x18
	return skippable || bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd})
}

// noEOF turns the end of the input inside a stream into what it is.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

type decompressReader struct {
	r     io.Reader
	close func() error
	name  string
}

func (d *decompressReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("decompress %s: %w", d.name, err)
	}
	return n, err
}

func (d *decompressReader) Close() error { return d.close() }
