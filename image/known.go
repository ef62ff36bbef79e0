package image

import (
	"context"
	"io"

	"github.com/varve-image/varve/internal/tally"
)

// copyKnown writes the blob as the memo has it, and returns how many bytes of it the memo gave:
// what cannot be read is not an error.
func (b *Blob) copyKnown(ctx context.Context, w io.Writer) (int64, error) {
	if b.Known.Digest == "" {
		return 0, nil
	}
	f, err := b.memo.Open(ctx, b.Known)
	if err != nil {
		return 0, ctx.Err()
	}
	defer f.Close()
	r := &lenient{r: io.LimitReader(f, b.Known.Size)}
	err = b.copyTo(ctx, w, r, b.Known.Size)
	if err == nil && r.n == b.Known.Size {
		tally.From(ctx).Add(tally.Reused, b.Layer, b.info.Size, 0)
	}
	return r.n, err
}

// lenient counts what it reads, and ends at an error.
type lenient struct {
	r io.Reader
	n int64
}

func (l *lenient) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// skipper leaves out the first bytes that are written to it.
type skipper struct {
	w    io.Writer
	left int64
}

func (s *skipper) Write(p []byte) (int, error) {
	skip := min(s.left, int64(len(p)))
	s.left -= skip
	n, err := s.w.Write(p[skip:])
	return int(skip) + n, err
}
