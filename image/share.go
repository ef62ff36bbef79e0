package image

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/layer"
)

// Sharing lets several places read the layers of images: what one of them has read, the others
// get from a temporary file without a name. Files take at most half of the space that is free;
// what does not fit is read again. It has to be closed.
type Sharing struct {
	dir string
	// space is what files may still take, in bytes; users is how many places are yet to be written.
	space atomic.Int64
	users atomic.Int64

	mu     sync.Mutex
	layers map[Layer]*sharedLayer
}

// NewSharing returns a Sharing for a number of places. Its files are in dir, which defaults to the
// system's directory for such files.
func NewSharing(dir string, users int) *Sharing {
	if dir == "" {
		dir = os.TempDir()
	}
	s := &Sharing{dir: dir, layers: map[Layer]*sharedLayer{}}
	s.users.Store(int64(users))
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil {
		s.space.Store(int64(st.Bavail) * int64(st.Bsize) / 2)
	}
	return s
}

// Image returns an image with the same layers, those that are made here shared. Stored ones stay
// as they are.
func (s *Sharing) Image(img Image) Image {
	switch img := img.(type) {
	case Named:
		return Named{s.Image(img.Image), img.Names}
	case *Built:
		d := img.d
		d.Layers = make([]Layer, len(img.d.Layers))
		for i, l := range img.d.Layers {
			d.Layers[i] = s.layer(l)
		}
		return New(d)
	}
	return img
}

func (s *Sharing) layer(l Layer) Layer {
	once, ok := l.(OnceLayer)
	if _, stored := l.(StoredLayer); stored || !ok {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.layers[l] == nil {
		s.layers[l] = &sharedLayer{OnceLayer: once, by: s}
	}
	return s.layers[l]
}

// Next says that one of the places has been written, or will not be.
func (s *Sharing) Next() { s.users.Add(-1) }

// Close releases the files.
func (s *Sharing) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.layers {
		l.free()
	}
	return nil
}

// sharedLayer is a layer whose tar is in a file once it was read.
type sharedLayer struct {
	OnceLayer
	by *Sharing

	reading sync.Mutex // held by Info
	mu      sync.Mutex
	busy    bool     // somebody is filling a file
	file    *os.File // nil where there is none
	size    int64
}

// Unread reports false: who writes the layer takes it from the file, which Info fills.
func (l *sharedLayer) Unread() bool { return false }

// TalliedAs returns the layer whose work this is.
func (l *sharedLayer) TalliedAs() any { return l.OnceLayer }

// PortableKey returns the layer's own.
func (l *sharedLayer) PortableKey(ctx context.Context) (digest.Digest, error) {
	if k, ok := l.OnceLayer.(KeyedLayer); ok {
		return k.PortableKey(ctx)
	}
	return "", nil
}

// WriteOnce writes the tar, and returns what Info returns.
func (l *sharedLayer) WriteOnce(ctx context.Context, w io.Writer) (layer.Info, error) {
	if err := l.Write(ctx, w); err != nil {
		return layer.Info{}, err
	}
	return l.Info(ctx)
}

// Info returns the tar's digest and size. If the layer has to be read for them, its tar is kept.
func (l *sharedLayer) Info(ctx context.Context) (info layer.Info, err error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	if !l.OnceLayer.Unread() || !l.begin() {
		return l.OnceLayer.Info(ctx)
	}
	err = l.fill(io.Discard, func(w io.Writer) error {
		info, err = l.OnceLayer.WriteOnce(ctx, w)
		return err
	})
	return info, err
}

// Write writes the tar. The first time it is kept, if other places are going to ask for it.
func (l *sharedLayer) Write(ctx context.Context, w io.Writer) error {
	if file := l.kept(); file != nil {
		// The struct hides methods that would take the copy away from the context.
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, ctxio.Reader(ctx, file), make([]byte, 1<<20))
		return err
	}
	if !l.begin() {
		return l.OnceLayer.Write(ctx, w)
	}
	return l.fill(w, func(w io.Writer) error { return l.OnceLayer.Write(ctx, w) })
}

// kept returns the tar as it was kept, or nil.
func (l *sharedLayer) kept() io.Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return io.NewSectionReader(l.file, 0, l.size)
}

// begin reports whether a file is to be filled, by the caller.
func (l *sharedLayer) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy || l.file != nil || l.by.users.Load() < 2 {
		return false
	}
	l.busy = true
	return true
}

// fill calls write with a writer to w and to a file, which is kept if it has everything.
func (l *sharedLayer) fill(w io.Writer, write func(io.Writer) error) error {
	t := &tee{w: w, by: l.by}
	err := write(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	if err != nil || t.failed || t.file == nil {
		t.drop()
		return err
	}
	l.file, l.size = t.file, t.size
	return nil
}

func (l *sharedLayer) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// tee writes to a file what it passes on, for as long as there is room.
type tee struct {
	w      io.Writer
	by     *Sharing
	file   *os.File
	size   int64
	failed bool
}

func (t *tee) Write(p []byte) (int, error) {
	if !t.failed && !t.keep(p) {
		t.drop()
	}
	return t.w.Write(p)
}

// keep reports whether p is in the file now.
func (t *tee) keep(p []byte) bool {
	t.size += int64(len(p))
	if t.by.space.Add(-int64(len(p))) < 0 {
		return false
	}
	if t.file == nil {
		var err error
		if t.file, err = atomicfile.Unnamed(t.by.dir); err != nil {
			return false
		}
	}
	_, err := t.file.Write(p)
	return err == nil
}

// drop gives the file up.
func (t *tee) drop() {
	t.failed = true
	t.by.space.Add(t.size)
	t.size = 0
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}
