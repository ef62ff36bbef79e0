package layer

import (
	"context"
	"fmt"
	"io"

	"github.com/varve-image/varve/tree"
)

// FormatVersion is the newest version of the bytes of layers: of the tars that this package writes.
// A change that gives other bytes for the same input changes the format and needs a new version.
// Version 2 has hard links, with Options.HardLinks; without them a layer is the same in both.
const FormatVersion = "2"

// CompressionVersion is the version of what layers are compressed to. An upgrade of a compressor
// that gives other bytes needs a new one; internal/compress/testdata/compress.golden shows that.
const CompressionVersion = "1"

// keyVersion is part of the keys of layers. It changes with what is hashed for them, and with headers
// that other bytes are written for.
const keyVersion = "2"

// portableVersion is part of portable keys, which images have. It changes with what stands between
// headers and content.
const portableVersion = "1"

// bufferSize is how much is handed on at once.
const bufferSize = 1 << 20

// Writer encodes entries as a tar. Its buffer is handed on when it is full
// and by Close.
type Writer struct {
	dialect Dialect
	prefix  string
	dst     io.Writer
	out     output
	buf     []byte
	size    int64
	files   int64 // regular ones so far
	// mark, where it is set, is called with each entry and its header.
	mark func(header []byte, e *tree.Entry)
	// other says that another file was read than an entry's stamp speaks for.
	other bool
}

// NewWriter returns a Writer to w that puts prefix before each entry's path.
// The prefix "./" makes the root "./".
func NewWriter(w io.Writer, d Dialect, prefix string) *Writer {
	return &Writer{dialect: d, prefix: prefix, dst: w, out: newOutput(w), buf: takeBuffer()}
}

// Size returns how many bytes the tar has so far.
func (w *Writer) Size() int64 { return w.size }

func (w *Writer) name(path string) string {
	if path == "." && w.prefix != "" {
		return w.prefix
	}
	return w.prefix + path
}

// Write writes an entry with its content. An error names the entry.
func (w *Writer) Write(ctx context.Context, e *tree.Entry) error {
	if err := w.WriteHeader(e); err != nil {
		return err
	}
	if e.Type != tree.Regular || e.Size == 0 && e.Content == nil {
		return nil
	}
	if err := w.content(ctx, e); err != nil {
		return err
	}
	w.Pad(e.Size)
	return nil
}

// writeWith writes an entry whose content is known.
func (w *Writer) writeWith(ctx context.Context, e *tree.Entry, content []byte) error {
	if err := w.WriteHeader(e); err != nil {
		return err
	}
	limit := cap(w.buf) - blockSize // the padding has to fit as well
	for left := content; len(left) > 0; {
		if len(w.buf) >= limit {
			if err := w.next(ctx); err != nil {
				return err
			}
		}
		n := min(len(left), limit-len(w.buf))
		w.buf, left = append(w.buf, left[:n]...), left[n:]
	}
	w.size += e.Size
	w.Pad(e.Size)
	return nil
}

// WriteHeader writes an entry's header alone. Size bytes of content have to
// follow by Content, and then Pad.
func (w *Writer) WriteHeader(e *tree.Entry) error {
	if cap(w.buf)-len(w.buf) < 4*blockSize {
		if err := w.flush(); err != nil {
			return err
		}
	}
	start := len(w.buf)
	var err error
	if w.buf, err = w.dialect.appendHeader(w.buf, w.name(e.Path), e); err != nil {
		return err
	}
	w.size += int64(len(w.buf) - start)
	if e.Type == tree.Regular {
		w.files++
	}
	if w.mark != nil {
		w.mark(w.buf[start:], e)
	}
	return nil
}

// Content calls fill to write the content that the last header announced straight to the
// Writer's destination. fill has to write exactly size bytes.
func (w *Writer) Content(size int64, fill func(io.Writer) error) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.size += size
	return fill(w.dst)
}

// Pad ends the content of size bytes.
func (w *Writer) Pad(size int64) {
	w.buf = appendPadding(w.buf, size)
	w.size += padding(size, blockSize)
}

// Close ends the tar: two blocks of zeros, filled up to a record of 10240
// bytes. It does not close the underlying writer.
func (w *Writer) Close() error {
	w.buf = append(w.buf, zeros[:2*blockSize]...)
	w.size += 2 * blockSize
	fill := padding(w.size, recordSize)
	w.buf = append(w.buf, zeros[:fill]...)
	w.size += fill
	err := w.flush()
	giveBuffer(w.buf)
	w.buf = nil
	return err
}

func (w *Writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	var err error
	w.buf, err = w.out.flush(w.buf)
	return err
}

// content copies e's content: by the kernel where the output can, else
// straight into the buffer.
func (w *Writer) content(ctx context.Context, e *tree.Entry) error {
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	left := e.Size
	if f, ok := r.(*tree.File); ok && left >= kernelCopyMin {
		n, err := w.kernelCopy(ctx, f, left)
		if err != nil {
			return fmt.Errorf("copy %q: %w", e.Path, err)
		}
		left -= n
	}
	limit := int64(cap(w.buf) - blockSize) // the padding has to fit as well
	for left > 0 {
		if int64(len(w.buf)) >= limit {
			if err := w.next(ctx); err != nil {
				return err
			}
		}
		room := w.buf[len(w.buf):min(limit, int64(len(w.buf))+left)]
		n, err := r.Read(room)
		w.buf = w.buf[:len(w.buf)+n]
		left -= int64(n)
		if err != nil && left > 0 {
			return shortContent(e, left, err)
		}
	}
	w.size += e.Size
	err = atEnd(e, r)
	if f, ok := r.(*tree.File); ok && !f.Is(e.Stamp) {
		w.other = true
	}
	return err
}

// next hands on the buffer in the middle of a file.
func (w *Writer) next(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.flush()
}

func (w *Writer) kernelCopy(ctx context.Context, f *tree.File, size int64) (int64, error) {
	k, ok := w.out.(kernelCopier)
	if !ok {
		return 0, nil
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return k.copyFile(ctx, f, size)
}

func shortContent(e *tree.Entry, left int64, err error) error {
	if err == io.EOF {
		return fmt.Errorf("%s: its content ends %d bytes early", describe(e), left)
	}
	return err
}

// atEnd checks that the reader has nothing more; a file on disk checks here whether it was
// changed.
func atEnd(e *tree.Entry, r io.Reader) error {
	var one [1]byte
	n, err := r.Read(one[:])
	switch {
	case n > 0:
		return fmt.Errorf("%s: it has more than the %d bytes that it had before", describe(e), e.Size)
	case err != nil && err != io.EOF:
		return err
	}
	return nil
}

// describe names an entry for a message: where it goes and where it comes
// from.
func describe(e *tree.Entry) string {
	switch e.Source {
	case "":
		return fmt.Sprintf("%q", e.Path)
	case "/" + e.Path:
		return fmt.Sprintf("%q", e.Source)
	}
	return fmt.Sprintf("%q (from %q)", e.Path, e.Source)
}
