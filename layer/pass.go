package layer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"sync/atomic"

	"github.com/varve-image/varve/tree"
)

// pass keeps the entries of a layer in a store, with their headers, from when its digest was found
// out until it is written: no directory has to be listed again then, and no file looked for. The
// layer is made of the headers that were hashed, and of files that are as they were then.
type pass struct {
	headers []byte
	kept    []keptEntry
	// memory is how much this takes, about; full says that it would take too much.
	memory *atomic.Int64
	full   bool
	// written is how many headers were used by now, and at where the next one begins.
	written, at int
}

type keptEntry struct {
	*tree.Entry
	header int // its length
}

const (
	// maxPasses limits the memory of all passes of a process, and maxPass that of one.
	maxPasses = 12 << 20
	maxPass   = 4 << 20
	// entryMemory is what an entry takes without its header: itself, and its names.
	entryMemory = 400
)

// passes is the memory of all passes.
var passes atomic.Int64

func newPass() *pass {
	p := &pass{memory: new(atomic.Int64)}
	runtime.AddCleanup(p, freePass, p.memory) // the layer may never be written
	return p
}

func freePass(memory *atomic.Int64) { passes.Add(-memory.Swap(0)) }

// add keeps an entry, unless there are too many.
func (p *pass) add(header []byte, e *tree.Entry) {
	if p.full {
		return
	}
	n := int64(len(header) + entryMemory)
	if p.memory.Add(n); passes.Add(n) > maxPasses || p.memory.Load() > maxPass {
		p.free()
		p.full = true
		return
	}
	p.headers = append(p.headers, header...)
	p.kept = append(p.kept, keptEntry{e, len(header)})
}

// free gives back the memory.
func (p *pass) free() {
	p.headers, p.kept = nil, nil
	freePass(p.memory)
}

// next returns the next header.
func (p *pass) next() []byte {
	n := p.kept[p.written].header
	p.at, p.written = p.at+n, p.written+1
	return p.headers[p.at-n : p.at]
}

// write writes the layer once more. It returns false if a file was changed in any way, or is another
// one than it was.
func (p *pass) write(ctx context.Context, w *Writer) (same bool, err error) {
	w.again = p
	a := newAhead(w, false)
	defer a.stop()
	for _, e := range p.kept {
		if err := a.write(ctx, e.Entry); err != nil {
			return false, err
		}
	}
	if err := a.finish(ctx); err != nil {
		return false, err
	}
	return !(w.other || w.touched || a.files.Other.Load() || a.files.Touched.Load()), w.Close()
}

// keepPass keeps what a pass has shown until the layer is written.
func (l *Layer) keepPass(p *pass) {
	if p != nil && !p.full {
		l.last = p
	}
}

// takePass returns what was kept, once, or nil.
func (l *Layer) takePass() *pass {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.last
	l.last = nil
	return p
}

// writeAgain writes the layer as a pass has shown it. It returns false if something has changed
// since, if only that a file has another name by now.
func (l *Layer) writeAgain(ctx context.Context, dst io.Writer, p *pass) (same bool, err error) {
	defer p.free()
	same, err = p.write(ctx, NewWriter(dst, l.opts.Dialect, l.opts.Prefix))
	var unread *tree.ReadError
	if errors.As(err, &unread) && errors.Is(err, fs.ErrNotExist) {
		return false, l.changed(ctx) // which says where it is missing
	}
	return same, err
}
