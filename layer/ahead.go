package layer

import (
	"context"
	"runtime"
	"sync"

	"github.com/varve-image/varve/tree"
)

const (
	// A batch ends with this many entries, or with so much content.
	batchEntries = 64
	batchBytes   = 256 << 10
	// maxReaders limits how many goroutines read for one layer.
	maxReaders = 4
)

// batch is a run of a layer's entries.
type batch struct {
	entries []*tree.Entry
	// small are those of the entries whose contents data holds, one after the other.
	small []*tree.Entry
	size  int64
	data  *[]byte
	err   error
	read  chan struct{} // gets a value when data is there
}

// ahead writes a layer's entries, and has the contents of small files read before it is their
// turn, by other goroutines.
type ahead struct {
	w     *Writer
	files *tree.FileReader

	now     *batch   // is being filled
	waiting []*batch // are being read, the oldest first
	free    []*batch
	jobs    chan *batch
	readers sync.WaitGroup
}

func newAhead(w *Writer, unchecked bool) *ahead {
	return &ahead{w: w, files: &tree.FileReader{Unchecked: unchecked}}
}

// isSmall reports whether a file is read together with others.
func isSmall(e *tree.Entry) bool {
	return e.Type == tree.Regular && e.Content != nil && e.Size < tree.SmallFile
}

// write writes an entry, now or later.
func (a *ahead) write(ctx context.Context, e *tree.Entry) error {
	if a.now == nil {
		a.now = a.newBatch()
	}
	b := a.now
	b.entries = append(b.entries, e)
	if isSmall(e) {
		b.small = append(b.small, e)
		b.size += e.Size
	}
	if len(b.entries) < batchEntries && b.size < batchBytes {
		return nil
	}
	a.now = nil
	return a.dispatch(ctx, b)
}

func (a *ahead) newBatch() *batch {
	if n := len(a.free); n > 0 {
		b := a.free[n-1]
		a.free = a.free[:n-1]
		return b
	}
	return &batch{read: make(chan struct{}, 1)}
}

// dispatch has a batch read. If enough are being read, it waits for the oldest and writes it.
func (a *ahead) dispatch(ctx context.Context, b *batch) error {
	readers := min(runtime.GOMAXPROCS(0), maxReaders)
	if a.jobs == nil {
		a.jobs = make(chan *batch, 2*readers)
		for range readers {
			a.readers.Go(func() {
				for b := range a.jobs {
					b.fill(a.files)
				}
			})
		}
	}
	a.waiting = append(a.waiting, b)
	a.jobs <- b
	if len(a.waiting) < 2*readers {
		return nil
	}
	return a.writeOldest(ctx)
}

// fill reads the contents of the small files.
func (b *batch) fill(files *tree.FileReader) {
	if b.data == nil {
		b.data = contents.Get().(*[]byte)
	}
	data, err := files.Append((*b.data)[:0], b.small)
	if err == nil {
		*b.data = data
	}
	b.err = err
	b.read <- struct{}{}
}

func (a *ahead) writeOldest(ctx context.Context) error {
	b := a.waiting[0]
	a.waiting = append(a.waiting[:0], a.waiting[1:]...)
	return a.writeBatch(ctx, b)
}

// writeBatch writes a batch, once it has been read.
func (a *ahead) writeBatch(ctx context.Context, b *batch) error {
	<-b.read
	if b.err != nil {
		return b.err
	}
	data := *b.data
	for _, e := range b.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !isSmall(e) {
			if err := a.w.Write(ctx, e); err != nil {
				return err
			}
			continue
		}
		if err := a.w.writeWith(ctx, e, data[:e.Size]); err != nil {
			return err
		}
		data = data[e.Size:]
	}
	contents.Put(b.data)
	b.data = nil
	clear(b.entries)
	clear(b.small)
	b.entries, b.small, b.size = b.entries[:0], b.small[:0], 0
	a.free = append(a.free, b)
	return nil
}

// finish writes what was not written yet.
func (a *ahead) finish(ctx context.Context) error {
	for len(a.waiting) > 0 {
		if err := a.writeOldest(ctx); err != nil {
			return err
		}
	}
	if a.now == nil {
		return nil
	}
	a.now.fill(a.files)
	return a.writeBatch(ctx, a.now)
}

// stop waits for the readers.
func (a *ahead) stop() {
	if a.jobs != nil {
		close(a.jobs)
		a.readers.Wait()
	}
}
