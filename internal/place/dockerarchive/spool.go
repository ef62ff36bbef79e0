package dockerarchive

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/layer"
)

// eachLayer calls visit for each layer in order, with its digest and size, which
// a tar states before its content.
//
// A layer that is stored compressed, maybe on a remote place, is read once: it
// is unpacked to a temporary file, a few layers at a time, and then read from
// there. Others are read twice, as image.Image.Each does. With RepeatLayers
// nothing is spooled.
//
// With a packer, each layer is a *compressedLayer.
func eachLayer(ctx context.Context, img image.Image, opts Options, pack *packer, visit func(ctx context.Context, i int, l image.Layer, info layer.Info) error) error {
	layers := img.Layers()
	files := map[spoolKey]filed{}
	defer func() {
		for _, f := range files {
			f.free()
		}
	}()
	known := image.KnownDiffIDs(img)
	for i, l := range layers {
		k := spoolKey{layer: i}
		stored, ok := l.(image.StoredLayer)
		ok = ok && i < len(known) && stored.Stored().Digest != "" && !opts.RepeatLayers
		switch {
		case ok:
			k = spoolKey{stored.Stored().Digest, known[i], 0}
		case pack == nil:
			continue
		}
		switch {
		case files[k] != nil:
		case pack != nil:
			files[k] = &compressedLayer{Layer: l, by: pack}
		default:
			files[k] = &spooled{StoredLayer: stored, diffID: known[i], tempDir: opts.TempDir}
		}
		layers[i] = files[k]
	}
	return image.Each(ctx, layers, func(ctx context.Context, i int, info layer.Info) error {
		err := visit(ctx, i, layers[i], info)
		if f, ok := layers[i].(filed); ok {
			f.free()
		}
		return err
	})
}

// filed is a layer with a file of its own.
type filed interface {
	image.Layer
	free()
}

// spoolKey is the same for layers that are stored as the same blob. Its tar counts as well:
// whether layers have the diffID that the config claims for them is not known before each is
// unpacked. Layers that are not stored have a number.
type spoolKey struct {
	blob, tar digest.Digest
	layer     int
}

// spooled is a layer that is unpacked to a file without a name when its size is
// first needed, and written from there.
type spooled struct {
	image.StoredLayer
	diffID  digest.Digest
	tempDir string

	mu   sync.Mutex
	info *layer.Info
	file *os.File // nil before, and after free
}

// Info unpacks the layer on the first call.
func (s *spooled) Info(ctx context.Context) (layer.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.info != nil {
		return *s.info, nil
	}
	r, err := s.Open(ctx)
	if err != nil {
		return layer.Info{}, err
	}
	defer r.Close()
	file, err := atomicfile.Unnamed(s.tempDir)
	if err != nil {
		return layer.Info{}, err
	}
	n, err := io.Copy(file, ctxio.Reader(ctx, r))
	if err != nil {
		file.Close()
		return layer.Info{}, fmt.Errorf("unpack layer %q: %w", s.Title(), err)
	}
	s.file, s.info = file, &layer.Info{DiffID: s.diffID, Size: n}
	return *s.info, nil
}

// chunk is how much is copied between two looks at the context.
const chunk = 16 << 20

// Write writes the tar.
func (s *spooled) Write(ctx context.Context, w io.Writer) error {
	if _, err := s.Info(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil { // it was written and freed
		return s.StoredLayer.Write(ctx, w)
	}
	return copyFile(ctx, w, s.file)
}

// free releases the file's space.
func (s *spooled) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}
