package dockerarchive

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
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
// nothing is spooled, nor what is left out.
//
// Of layers with many small files the tar is kept in such a file while it is hashed.
//
// With a packer, each layer is a *compressedLayer. With room, layers that were not read yet are
// visited without their digest.
func eachLayer(ctx context.Context, img image.Image, opts Options, how by, visit func(ctx context.Context, i int, l image.Layer, info layer.Info) error) error {
	layers := slices.Clone(img.Layers()) // which may be the image's own
	files := map[spoolKey]filed{}
	defer func() {
		for _, f := range files {
			f.free()
		}
	}()
	known := image.KnownDiffIDs(img)
	space := newKeptFiles(opts.TempDir)
	for i, l := range layers {
		k := spoolKey{layer: i}
		stored, ok := l.(image.StoredLayer)
		small, keep := l.(image.KeptLayer)
		left := i < len(known) && opts.omits(known[i])
		keep = keep && how.room == nil && !opts.RepeatLayers
		ok = ok && i < len(known) && stored.Stored().Digest != "" && !opts.RepeatLayers && !left
		switch {
		case left && opts.Layout == nil && isUnread(l):
			layers[i] = newOmitted(l, known[i])
			continue
		case ok:
			k = spoolKey{stored.Stored().Digest, known[i], 0}
		case how.pack == nil && !keep:
			continue
		}
		switch {
		case files[k] != nil:
		case how.pack != nil:
			files[k] = &compressedLayer{Layer: l, by: how.pack}
		case !ok:
			files[k] = &keptLayer{KeptLayer: small, in: space}
		default:
			files[k] = &spooled{StoredLayer: stored, diffID: known[i], tempDir: opts.TempDir}
		}
		layers[i] = files[k]
	}
	ahead := hashAhead
	if how.room != nil {
		ahead = readAhead
	}
	return each(ctx, layers, ahead, func(ctx context.Context, i int) (err error) {
		var info layer.Info
		if how.room == nil || !isUnread(layers[i]) {
			info, err = layers[i].Info(ctx)
		}
		if err == nil {
			err = visit(ctx, i, layers[i], info)
		}
		if f, ok := layers[i].(filed); ok {
			f.free()
		}
		return err
	})
}

// by says how layers are written: not at all special, if both are nil.
type by struct {
	room *room
	pack *packer
}

// hashAhead finds out a layer's digest.
func hashAhead(ctx context.Context, l image.Layer) error {
	_, err := l.Info(ctx)
	return err
}

// readAhead finds out a layer's digest, unless it is better written without it.
func readAhead(ctx context.Context, l image.Layer) error {
	if s, ok := l.(*spooled); ok {
		return s.unpackAhead(ctx)
	}
	if isUnread(l) {
		return nil
	}
	return hashAhead(ctx, l)
}

// omittedLayer is a layer that is left out of an archive that does not say its size, and that need
// not be read.
type omittedLayer struct {
	image.Layer
	info layer.Info
}

// newOmitted takes the size for the one that the layer is stored with, which is only shown.
func newOmitted(l image.Layer, diffID digest.Digest) *omittedLayer {
	o := &omittedLayer{l, layer.Info{DiffID: diffID}}
	if stored, ok := l.(image.StoredLayer); ok {
		o.info.Size = stored.Stored().Size
	}
	return o
}

// Info returns what is known.
func (o *omittedLayer) Info(context.Context) (layer.Info, error) { return o.info, nil }

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
	// claimed says that the layer is being written, without such a file.
	claimed bool
}

// Unread reports whether the layer was not unpacked yet. If so, it is not going to be: WriteOnce
// has to be called. It waits for somebody who unpacks it.
func (s *spooled) Unread() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.StoredLayer.(image.OnceLayer); !ok || s.info != nil {
		return false
	}
	s.claimed = true
	return true
}

// unpackAhead unpacks the layer, unless it is being written.
func (s *spooled) unpackAhead(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed {
		return nil
	}
	return s.unpack(ctx)
}

// WriteOnce writes the tar as it is unpacked.
func (s *spooled) WriteOnce(ctx context.Context, w io.Writer) (layer.Info, error) {
	info, err := s.StoredLayer.(image.OnceLayer).WriteOnce(ctx, w)
	if err != nil {
		return layer.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info = &info
	return info, nil
}

// Info unpacks the layer on the first call.
func (s *spooled) Info(ctx context.Context) (layer.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unpack(ctx); err != nil {
		return layer.Info{}, err
	}
	return *s.info, nil
}

// unpack unpacks the layer, unless that was done.
func (s *spooled) unpack(ctx context.Context) error {
	if s.info != nil {
		return nil
	}
	r, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	file, err := atomicfile.Unnamed(s.tempDir)
	if err != nil {
		return err
	}
	step := tally.Begin(ctx, "unpacking", s.Title(), 0)
	defer step.End()
	// The struct hides methods that would choose the pieces.
	n, err := io.CopyBuffer(struct{ io.Writer }{file}, ctxio.Reader(ctx, io.TeeReader(r, step)), make([]byte, 1<<20))
	if err != nil {
		file.Close()
		return fmt.Errorf("unpack layer %q: %w", s.Title(), err)
	}
	s.file, s.info = file, &layer.Info{DiffID: s.diffID, Size: n}
	tally.From(ctx).Add(tally.Hashed, s.StoredLayer, n, 0)
	return nil
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
