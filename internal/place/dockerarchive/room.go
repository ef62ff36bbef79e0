package dockerarchive

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
)

// room is a file in which layers are written before their headers: behind room for them, which is
// filled when digest and size are known. Content is read only once then.
type room struct {
	file *os.File
	// longer says that something was written behind the archive's end.
	longer bool
}

// roomIn returns the file that w is, or nil if it is not one that can be written anywhere.
func roomIn(w io.Writer) *room {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_APPEND != 0 {
		return nil
	}
	// What others have written behind this place is not ours to cut off.
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != info.Size() {
		return nil
	}
	return &room{file: f}
}

// layer writes a layer behind room for a header of so many bytes, and then the header that the
// function header returns. Without one, or with one of another size, nothing is written after
// all: it returns false then.
func (r *room) layer(ctx context.Context, l image.OnceLayer, size int, header func(layer.Info) ([]byte, error)) (info layer.Info, ok bool, err error) {
	start, err := r.file.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = r.file.Seek(int64(size), io.SeekCurrent)
	}
	if err != nil {
		return info, false, err
	}
	c := &counter{w: r.file, step: tally.Begin(ctx, "writing", l.Title(), 0)}
	defer c.step.End()
	if info, err = l.WriteOnce(ctx, c); err != nil {
		return info, false, err
	}
	if c.n != info.Size {
		return info, false, fmt.Errorf("%s: it wrote %d bytes, and said that it has %d", l.Title(), c.n, info.Size)
	}
	b, err := header(info)
	if err != nil {
		return info, false, err
	}
	if len(b) != size {
		r.longer = true
		_, err := r.file.Seek(start, io.SeekStart)
		return info, false, err
	}
	_, err = r.file.WriteAt(b, start)
	return info, err == nil, err
}

// end cuts off what is behind the archive's end.
func (r *room) end() error {
	if r == nil || !r.longer {
		return nil
	}
	at, err := r.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	return r.file.Truncate(at)
}

// isUnread reports whether a layer is best written before its digest is known.
func isUnread(l image.Layer) bool {
	once, ok := l.(image.OnceLayer)
	return ok && once.Unread()
}
