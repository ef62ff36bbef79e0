package layer

import (
	"io"

	"github.com/varve-image/varve/internal/compress"
)

// Prefix is how many bytes of a stream Detect looks at.
const Prefix = compress.Prefix

// NewReader returns what r holds without its compression, and which one that
// was: by the first bytes, never by a name or a media type. Gzip may have
// several members and zeros behind them, zstd several frames and skippable ones,
// bzip2 and xz, which are read and never written, several streams; anything else is
// passed through as None.
//
// How much comes out is for the caller to bound; memory is bounded here, by
// windows of at most 128 MiB. A stream that is cut short or followed by
// garbage is an error, not an end. The reader takes more from r than it
// needs. Close frees what it holds; it does not close r.
func NewReader(r io.Reader) (io.ReadCloser, Algorithm, error) {
	z, format, err := compress.NewReader(r)
	return z, Algorithm(format), err
}

// Detect tells by its first Prefix bytes how a stream is compressed.
func Detect(start []byte) Algorithm { return Algorithm(compress.Detect(start)) }

// Writable tells an algorithm that layers can have in a manifest from one that is
// only read.
func (a Algorithm) Writable() bool {
	_, err := ParseCompression(string(a))
	return err == nil
}
