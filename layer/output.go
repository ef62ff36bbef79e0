package layer

import (
	"context"
	"io"
	"os"

	"github.com/varve-image/varve/tree"
)

// output takes a Writer's buffers.
type output interface {
	// flush takes over a buffer and returns an empty one.
	flush(p []byte) ([]byte, error)
}

// kernelCopier is an output that lets the kernel copy files.
type kernelCopier interface {
	// copyFile copies up to size bytes and returns how many it did; the rest
	// goes through the buffers.
	copyFile(ctx context.Context, f *tree.File, size int64) (int64, error)
	// copySection copies a section in the same way.
	copySection(ctx context.Context, s *Section) (int64, error)
}

// kernelCopyMin is the file size from which the kernel's copying pays.
const kernelCopyMin = 64 << 10

// countingFile is a writer to a file that wants to know how much goes there past it.
type countingFile interface {
	// File returns the file, or nil if there is none.
	File() *os.File
	// Copied is told how many bytes the kernel has copied to the file.
	Copied(n int64)
}

func newOutput(w io.Writer) output {
	switch w := w.(type) {
	case *os.File:
		return newFileOutput(w, w, func(int64) {})
	case countingFile:
		if f := w.File(); f != nil {
			return newFileOutput(w.(io.Writer), f, w.Copied)
		}
	}
	return writerOutput{w}
}

// writerOutput writes to any io.Writer.
type writerOutput struct{ w io.Writer }

func (o writerOutput) flush(p []byte) ([]byte, error) {
	_, err := o.w.Write(p)
	return p[:0], err
}
