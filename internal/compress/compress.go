// Package compress compresses streams and reads compressed ones.
//
// Guarantees:
//
//   - The output depends on the input, the algorithm and the level alone: not
//     on how the input is cut into writes, nor on the number of cores.
//   - The first bytes of a stream say how it is compressed, never a name or a
//     media type.
//   - Reading takes limited memory, with windows and dictionaries of at most
//     128 MiB, and no goroutine of its own. A stream that is cut short or
//     followed by garbage is an error, not an end. Checksums are compared if
//     the format has any.
//
// Non-goals: limiting how much comes out of a stream, which is up to the caller.
//
// # Adding an algorithm
//
// Add a row to the table below, and its functions in a file of their own.
// Everything else is read from the table: names, levels, endings, media types,
// messages. The pattern in the schema of specs cannot be; a test of package spec
// compares it with the table. Public packages name a compression by the text
// that Parse reads, so that none of their declarations depends on this package.
package compress

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
)

// Algorithm is a way to compress, by its name in specs.
type Algorithm string

// The algorithms. A stream that is not recognised as anything else is None.
const (
	None  Algorithm = "none"
	Gzip  Algorithm = "gz"
	Zstd  Algorithm = "zstd"
	Bzip2 Algorithm = "bzip2"
	Xz    Algorithm = "xz"
)

// format describes an algorithm.
type format struct {
	algorithm Algorithm
	// name is the usual one, for messages; others are what people may write for it
	// in a spec.
	name   string
	others []string
	// file is the ending of a compressed file's name, and tars are the short
	// endings of compressed tars.
	file string
	tars []string
	// suffix is what a layer's media type ends in.
	suffix string
	// level is the default and highest the last, both 0 if there are none.
	level, highest int

	is   func(start []byte) bool
	read func(in *bufio.Reader) (io.ReadCloser, error)
	// write starts a compressor, whose Close leaves no goroutine behind. It is nil
	// if this package only reads the format.
	write func(w io.Writer, level int) (encoder, error)
}

// formats is the table of all algorithms.
//
// The levels were measured over 250 MB of a Debian /usr/lib on two cores (bytes
// written, wall time): gz:6 35.5 %, 1.2 s; gz:7 34.9 %, 1.7 s; gz:8 34.6 %,
// 2.5 s; gz:9 34.6 %, 10.2 s; pigz -6 33.7 %, 3.9 s; zstd:3 33.4 %, 0.7 s;
// zstd:7 32.6 %, 1.2 s; zstd:19 29.9 %, 8.3 s.
var formats = []format{
	{
		algorithm: None, name: "none", others: []string{"", "no", "off", "uncompressed", "store"},
		is:    func([]byte) bool { return false },
		read:  func(in *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(in), nil },
		write: func(w io.Writer, _ int) (encoder, error) { return plain{w}, nil },
	},
	{
		algorithm: Gzip, name: "gzip", others: []string{"gz", "pigz", "tgz"},
		file: ".gz", tars: []string{".tgz"}, suffix: "+gzip", level: 6, highest: 9,
		is:   func(start []byte) bool { return bytes.HasPrefix(start, []byte("\x1f\x8b")) },
		read: readGzip, write: writeGzip,
	},
	{
		algorithm: Zstd, name: "zstd", others: []string{"zst", "zstandard"},
		file: ".zst", tars: []string{".tzst"}, suffix: "+zstd", level: 3, highest: 22,
		is: isZstd, read: readZstd, write: writeZstd,
	},
	{
		algorithm: Bzip2, name: "bzip2",
		file: ".bz2", tars: []string{".tbz2", ".tbz"},
		is: isBzip2, read: readBzip2,
	},
	{
		algorithm: Xz, name: "xz",
		file: ".xz", tars: []string{".txz"},
		is:   func(start []byte) bool { return bytes.HasPrefix(start, []byte(xzMagic)) },
		read: readXz,
	},
}

// format returns a's row of the table.
func (a Algorithm) format() (format, bool) {
	i := slices.IndexFunc(formats, func(f format) bool { return f.algorithm == a })
	if i < 0 {
		return format{}, false
	}
	return formats[i], true
}

// Writable reports whether this package can write streams of a, and not only read them.
func (a Algorithm) Writable() bool {
	f, ok := a.format()
	return ok && f.write != nil
}

// Highest returns the highest level that a can be written with, 0 if it has
// none.
func (a Algorithm) Highest() int {
	f, _ := a.format()
	return f.highest
}

// Meant returns the algorithm that can be written and that other tools call name.
func Meant(name string) (Algorithm, bool) {
	name = strings.ToLower(name)
	for _, f := range formats {
		if f.write != nil && (name == string(f.algorithm) || name == f.name || slices.Contains(f.others, name)) {
			return f.algorithm, true
		}
	}
	return "", false
}
