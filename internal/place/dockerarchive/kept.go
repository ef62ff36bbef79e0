package dockerarchive

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/layer"
)

// maxKept limits how much is kept of all layers at once.
const maxKept = 2 << 30

// keptFiles makes files for layers that are kept.
type keptFiles struct {
	dir  string
	left atomic.Int64
}

func newKeptFiles(dir string) *keptFiles {
	f := &keptFiles{dir: dir}
	f.left.Store(maxKept)
	return f
}

// keptLayer is a layer whose tar, if it has many small files, is kept when it is hashed, and
// written from there.
type keptLayer struct {
	image.KeptLayer
	in *keptFiles

	mu   sync.Mutex
	file *keptFile // nil before, after free, and where nothing is kept
}

// Unread reports false: the layer is hashed first.
func (k *keptLayer) Unread() bool { return false }

// Info hashes the layer on the first call.
func (k *keptLayer) Info(ctx context.Context) (layer.Info, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file != nil || !k.KeptLayer.Unread() {
		return k.KeptLayer.Info(ctx)
	}
	f := &keptFile{in: k.in}
	info, kept, err := k.Keep(ctx, f)
	if err != nil || !kept {
		f.free()
		return info, err
	}
	k.file = f
	return info, nil
}

// Write writes the tar.
func (k *keptLayer) Write(ctx context.Context, w io.Writer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		return k.KeptLayer.Write(ctx, w)
	}
	return copyFile(ctx, w, k.file.file)
}

// free releases the file's space.
func (k *keptLayer) free() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file != nil {
		k.file.free()
		k.file = nil
	}
}

// keptFile is a file without a name, which is made when something is written to it.
type keptFile struct {
	in   *keptFiles
	file *os.File
	size int64
}

// errNotKept says that there is no place for more.
var errNotKept = errors.New("not kept")

func (f *keptFile) Write(p []byte) (int, error) {
	n := int64(len(p))
	f.size += n
	if f.in.left.Add(-n) < 0 {
		return 0, errNotKept
	}
	if f.file == nil {
		file, err := atomicfile.Unnamed(f.in.dir)
		if err != nil {
			return 0, err
		}
		f.file = file
		if inMemory(file) {
			return 0, errNotKept
		}
	}
	return f.file.Write(p)
}

func (f *keptFile) free() {
	f.in.left.Add(f.size)
	if f.file != nil {
		f.file.Close()
	}
}
