package nar

import (
	"encoding/binary"
	"io"
)

// Writer writes an archive piece by piece: Begin, then one file. A file is one
// of
//
//   - Symlink,
//   - Regular, its content by Write, and EndRegular,
//   - Directory, for each name in the order of their bytes Entry, a file and
//     EndEntry, and then EndDirectory.
//
// After an error nothing more is written; Err returns it.
type Writer struct {
	w    io.Writer
	size uint64
	buf  []byte
	err  error
}

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Size returns how many bytes were written.
func (n *Writer) Size() uint64 { return n.size }

// Err returns the first error of writing.
func (n *Writer) Err() error { return n.err }

// Begin begins an archive.
func (n *Writer) Begin() { n.strings(magic) }

// Symlink writes a symlink.
func (n *Writer) Symlink(target string) { n.strings("(", "type", "symlink", "target", target, ")") }

// Regular begins a regular file of size bytes.
func (n *Writer) Regular(size uint64, executable bool) {
	n.strings("(", "type", "regular")
	if executable {
		n.strings("executable", "")
	}
	n.strings("contents")
	n.buf = binary.LittleEndian.AppendUint64(n.buf[:0], size)
	_, _ = n.Write(n.buf)
}

// EndRegular ends a regular file of size bytes.
func (n *Writer) EndRegular(size uint64) {
	n.buf = append(n.buf[:0], make([]byte, padding(size))...)
	_, _ = n.Write(n.buf)
	n.strings(")")
}

// Directory begins a directory.
func (n *Writer) Directory() { n.strings("(", "type", "directory") }

// Entry begins an entry of a directory.
func (n *Writer) Entry(name string) { n.strings("entry", "(", "name", name, "node") }

// EndEntry ends an entry of a directory.
func (n *Writer) EndEntry() { n.strings(")") }

// EndDirectory ends a directory.
func (n *Writer) EndDirectory() { n.strings(")") }

// Write writes a part of a regular file's content.
func (n *Writer) Write(p []byte) (int, error) {
	if n.err != nil {
		return 0, n.err
	}
	var done int
	done, n.err = n.w.Write(p)
	n.size += uint64(done)
	return done, n.err
}

// strings writes short strings.
func (n *Writer) strings(list ...string) {
	n.buf = n.buf[:0]
	for _, s := range list {
		n.buf = binary.LittleEndian.AppendUint64(n.buf, uint64(len(s)))
		n.buf = append(n.buf, s...)
		n.buf = append(n.buf, make([]byte, padding(uint64(len(s))))...)
	}
	_, _ = n.Write(n.buf)
}
