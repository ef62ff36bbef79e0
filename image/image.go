package image

import (
	"context"
	"io"

	"github.com/varve-image/varve/layer"
)

// Layer is a layer's uncompressed tar, which can be written any number of
// times.
type Layer interface {
	// Info returns the tar's digest and size. It may have to read the whole
	// layer the first time; later calls return at once.
	Info(ctx context.Context) (layer.Info, error)
	// Write writes the tar to w. It fails, naming the entry where it can, if
	// what it wrote is not what Info says.
	Write(ctx context.Context, w io.Writer) error
}
