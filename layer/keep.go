package layer

import (
	"context"
	"io"

	"github.com/varve-image/varve/internal/tally"
)

// keepAverage is the size of a tar for each file in it, from which it costs less to read the
// files once more than to keep the tar.
const keepAverage = 8 << 10

// Keep returns what Info returns. Where that reads the layer, and it has many small files, which
// cost more to open than to copy, its tar is written to keep at the same time: whole, if kept is
// true, and otherwise as far as it was worth it, or keep could take it.
func (l *Layer) Keep(ctx context.Context, keep io.Writer) (info Info, kept bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.info == nil {
		k := &keeper{dst: keep}
		if known, err := l.recall(ctx); err != nil {
			return Info{}, false, err
		} else if known {
			return *l.info, false, nil
		}
		if err := l.read(ctx, k); err != nil {
			return Info{}, false, err
		}
		kept = !k.ended
	}
	return *l.info, kept, nil
}

// keeper passes on a tar for as long as it has small files. It never fails.
type keeper struct {
	dst  io.Writer
	step *tally.Step
	// tar is what writes here.
	tar   *Writer
	n     int64
	ended bool
}

func (k *keeper) Write(p []byte) (int, error) {
	k.step.Add(len(p))
	k.n += int64(len(p))
	k.ended = k.ended || k.n/keepAverage > k.tar.files
	if !k.ended {
		_, err := k.dst.Write(p)
		k.ended = err != nil
	}
	return len(p), nil
}
