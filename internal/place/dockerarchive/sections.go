package dockerarchive

import (
	"context"
	"fmt"
	"io"

	"github.com/varve-image/varve/image"
)

// sections compresses what is written to it, as streams that follow each other: gzip's members
// or zstd's frames, which readers take for one. Each layer's tar is a stream of its own, which
// the memo may have, and what is between two layers is one.
type sections struct {
	ctx        context.Context // done after an error
	w          io.Writer
	compressor image.Compressor
	z          io.WriteCloser // nil between two streams
}

func (s *sections) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if s.z == nil {
		var err error
		if s.z, err = s.compressor.NewWriter(s.ctx, s.w); err != nil {
			return 0, err
		}
	}
	return s.z.Write(p)
}

// cut ends the stream.
func (s *sections) cut() error {
	if s.z == nil {
		return nil
	}
	z := s.z
	s.z = nil
	return z.Close()
}

// layer writes a layer's stream.
func (s *sections) layer(ctx context.Context, l image.Layer) error {
	p, ok := l.(*compressedLayer)
	if !ok {
		return fmt.Errorf("%s is not compressed", l.Title()) // cannot happen: eachLayer packs them all
	}
	if err := s.cut(); err != nil {
		return err
	}
	return p.writePacked(ctx, s.w)
}
