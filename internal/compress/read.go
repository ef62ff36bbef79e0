package compress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Prefix is how many bytes of a stream Detect needs.
const Prefix = 10

// maxWindow is the largest zstd window and xz dictionary held in memory: what
// zstd's reference decoder takes by default, and twice what xz -9 needs.
const maxWindow = 128 << 20

// Detect finds out from the first bytes of a stream how it is compressed.
func Detect(start []byte) Algorithm { return detect(start).algorithm }

func detect(start []byte) format {
	for _, f := range formats {
		if f.is(start) {
			return f
		}
	}
	plain, _ := None.format()
	return plain
}

// NewReader returns the decompressed content of r, and its algorithm. Content that is not
// compressed is passed through as None. Gzip may have several members and zeros behind them (RFC
// 1952 does not know these, gzip ignores them), zstd several frames and skippable ones (RFC
// 8878), bzip2 and xz several streams. For xz, it reads only streams without filters other than
// LZMA2.
//
// The reader takes more from r than it needs. Close frees what it holds; it does
// not close r.
func NewReader(r io.Reader) (io.ReadCloser, Algorithm, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	start, err := in.Peek(Prefix)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	f := detect(start)
	z, err := f.read(in)
	if err != nil {
		return nil, "", fmt.Errorf("decompress %s: %w", f.name, noEOF(err))
	}
	if f.algorithm == None {
		return z, None, nil
	}
	return &reader{z, f.name}, f.algorithm, nil
}

// noEOF turns the end of the input inside a stream into an unexpected end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// reader adds to errors what it was that failed.
type reader struct {
	io.ReadCloser
	name string
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("decompress %s: %w", r.name, err)
	}
	return n, err
}
