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
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
)

// eachLayer calls visit for each layer in order, with its digest and size, which
// a tar states before its content.
//
// A layer that is stored compressed, maybe on a remote place, is read once: it
// is unpacked to a temporary file, a few layers at a time, and then read from
// there. Others are read twice, as image.Image.Each does. With RepeatLayers
// nothing is spooled.
func eachLayer(ctx context.Context, img image.Image, opts Options, visit func(ctx context.Context, i int, l image.Layer, info layer.Info) error) error {
	known := image.KnownDiffIDs(img)
	// By the blob as well: whether layers have the diffID that the config claims
	// for them is not known before each is unpacked.
	type key struct{ blob, tar digest.Digest }
	seen := map[key]*spooled{}
	defer func() {
		for _, s := range seen {
			s.free()
		}
	}()
	layers := img.Layers()
	for i, l := range layers {
		stored, ok := l.(image.StoredLayer)
		if !ok || i >= len(known) || stored.Stored().Digest == "" || opts.RepeatLayers {
			continue
		}
		k := key{stored.Stored().Digest, known[i]}
		if seen[k] == nil {
			seen[k] = &spooled{StoredLayer: stored, diffID: known[i], tempDir: opts.TempDir}
		}
		layers[i] = seen[k]
	}
	return image.Each(ctx, layers, func(ctx context.Context, i int, info layer.Info) error {
		err := visit(ctx, i, layers[i], info)
		if s, ok := layers[i].(*spooled); ok {
			s.free()
		}
		return err
	})
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
	step := tally.Begin(ctx, "unpacking", s.Title(), 0)
	defer step.End()
	n, err := io.Copy(file, ctxio.Reader(ctx, io.TeeReader(r, step)))
	if err != nil {
		file.Close()
		return layer.Info{}, fmt.Errorf("unpack layer %q: %w", s.Title(), err)
	}
	s.file, s.info = file, &layer.Info{DiffID: s.diffID, Size: n}
	tally.From(ctx).Add(tally.Hashed, s, n, 0)
	return *s.info, nil
}

// chunk is how much is copied between two looks at the context.
const chunk = 16 << 20

// Write writes the tar.
func (s *spooled) Write(ctx context.Context, w io.Writer) error {
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil { // it was written and freed
		return s.StoredLayer.Write(ctx, w)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for left := info.Size; left > 0; left -= chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(w, s.file, min(left, chunk)); err != nil {
			return err
		}
	}
	return nil
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
