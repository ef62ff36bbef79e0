package dockerarchive

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/tally"
)

// writeSized writes a layer, and fails if its size is not the header's. Layers check their
// digests themselves.
func writeSized(ctx context.Context, w io.Writer, l image.Layer, size int64, what string) error {
	c := &counter{w: w, step: tally.Begin(ctx, what, l.Title(), size)}
	defer c.step.End()
	if err := l.Write(ctx, c); err != nil {
		return err
	}
	if c.n != size {
		return fmt.Errorf("%s: it wrote %d bytes, and said that it has %d", l.Title(), c.n, size)
	}
	return nil
}

// counter counts what it passes on, or what the kernel copies to the file that it writes to.
type counter struct {
	w    io.Writer
	n    int64
	step *tally.Step
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.step.Add(n)
	return n, err
}

// File returns the file that c writes to, if it is one (layer.Layer.Write).
func (c *counter) File() *os.File {
	switch w := c.w.(type) {
	case *os.File:
		return w
	case interface{ File() *os.File }:
		return w.File()
	}
	return nil
}

// Copied counts what the kernel has copied to File.
func (c *counter) Copied(n int64) {
	c.n += n
	c.step.Add(int(n))
}

// ReadFrom copies r, within the kernel where that can be.
func (c *counter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.w, r)
	c.Copied(n)
	return n, err
}
