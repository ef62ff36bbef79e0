package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/ctxio"
)

// smallFile is the largest content that another goroutine writes.
const smallFile = 128 << 10

// fileJob is content to be written.
type fileJob struct {
	files []*Entry
	// content is what they hold; nil means that the first has to be opened.
	content []byte
}

// files writes the regular files.
func (w *dirFill) files(ctx context.Context, contents func(context.Context, func([]*Entry, io.Reader) error) error) error {
	missing := map[*Entry]bool{}
	for _, e := range w.entries {
		if e.Type == Regular {
			missing[e] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	jobs := make(chan fileJob, 64)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error { return w.worker(ctx, jobs) })
	}
	group.Go(func() error {
		defer close(jobs)
		if contents == nil {
			return w.feedEntries(ctx, jobs)
		}
		return w.feedContents(ctx, jobs, missing, contents)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if contents != nil {
		for e := range missing {
			return fmt.Errorf("write %q: it has no content", e.Path)
		}
	}
	return nil
}

// feedEntries has the workers open the entries themselves.
func (w *dirFill) feedEntries(ctx context.Context, jobs chan<- fileJob) error {
	for _, e := range w.entries {
		if e.Type != Regular {
			continue
		}
		if err := send(ctx, jobs, fileJob{files: []*Entry{e}}); err != nil {
			return err
		}
	}
	return nil
}

// feedContents hands small contents to the workers and writes large ones
// itself.
func (w *dirFill) feedContents(ctx context.Context, jobs chan<- fileJob, missing map[*Entry]bool, contents func(context.Context, func([]*Entry, io.Reader) error) error) error {
	at := w.cursor()
	defer at.close()
	return contents(ctx, func(files []*Entry, r io.Reader) error {
		var wanted []*Entry
		for _, e := range files {
			if missing[e] {
				wanted = append(wanted, e)
				delete(missing, e)
			}
		}
		if len(wanted) == 0 {
			return nil
		}
		if size := wanted[0].Size; size <= smallFile {
			content := make([]byte, size)
			if _, err := io.ReadFull(r, content); err != nil {
				return fail("write", wanted[0].Path, noEnd(err))
			}
			return send(ctx, jobs, fileJob{wanted, content})
		}
		return w.write(at, wanted, func(fd int) error { return copyTo(ctx, fd, r, wanted[0].Size) })
	})
}

func send(ctx context.Context, jobs chan<- fileJob, job fileJob) error {
	select {
	case jobs <- job:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *dirFill) worker(ctx context.Context, jobs <-chan fileJob) error {
	at := w.cursor()
	defer at.close()
	for job := range jobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		first := job.files[0]
		if err := w.write(at, job.files, func(fd int) error {
			if job.content != nil {
				return writeAll(fd, job.content)
			}
			return copyEntry(ctx, fd, first)
		}); err != nil {
			return err
		}
	}
	return nil
}

// write makes the files that have one content, which fill writes.
func (w *dirFill) write(at *cursor, files []*Entry, fill func(fd int) error) error {
	first := files[0]
	if err := w.writeFile(at, first, fill); err != nil {
		return fail("write", first.Path, err)
	}
	for _, e := range files[1:] {
		if sameFile(first, e) && w.link(at, first, e) == nil {
			continue
		}
		// Links are refused beyond some number, and by some file systems.
		if err := w.writeFile(at, e, func(fd int) error { return w.copyOf(fd, first) }); err != nil {
			return fail("write", e.Path, err)
		}
	}
	return nil
}

func (w *dirFill) writeFile(at *cursor, e *Entry, fill func(fd int) error) error {
	dir, name, err := at.of(e)
	if err != nil {
		return err
	}
	fd, err := createAt(dir, name)
	if err != nil {
		return err
	}
	if err = fill(fd); err == nil {
		err = w.attributes(fd, e)
	}
	if err == nil {
		err = setTime(dir, name, e)
	}
	return errors.Join(err, unix.Close(fd))
}

// createAt creates a file, which must not exist.
func createAt(dir int, name string) (fd int, err error) {
	err = retryEINTR(func() error {
		fd, err = unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	return fd, err
}

// sameFile reports whether two entries with the same content can be one file.
func sameFile(a, b *Entry) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.ModTime == b.ModTime && maps.Equal(a.Xattrs, b.Xattrs)
}

func (w *dirFill) link(at *cursor, first, e *Entry) error {
	source := w.cursor()
	defer source.close()
	from, old, err := source.of(first)
	if err != nil {
		return err
	}
	dir, name, err := at.of(e)
	if err != nil {
		return err
	}
	return unix.Linkat(from, old, dir, name, 0)
}

// copyOf copies the file that was written as first.
func (w *dirFill) copyOf(fd int, first *Entry) error {
	from, err := openInside(w.root, first.Path, openFile)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	return copyTo(context.Background(), fd, reader(from), first.Size)
}

// copyEntry writes the content of an entry.
func copyEntry(ctx context.Context, fd int, e *Entry) error {
	if e.Content == nil {
		if e.Size != 0 {
			return errors.New("it has no content")
		}
		return nil
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return copyTo(ctx, fd, r, e.Size)
}

// copyTo writes the size bytes of r, which must have no more.
func copyTo(ctx context.Context, fd int, r io.Reader, size int64) error {
	n, err := io.CopyBuffer(writer(fd), struct{ io.Reader }{ctxio.Reader(ctx, r)}, make([]byte, min(max(size+1, 512), 256<<10)))
	if err == nil && n != size {
		err = fmt.Errorf("its content has %d bytes and not %d", n, size)
	}
	return err
}

// writer and reader are descriptors of files that never block.
type (
	writer int
	reader int
)

func (w writer) Write(p []byte) (int, error) {
	if err := writeAll(int(w), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (r reader) Read(p []byte) (n int, err error) {
	err = retryEINTR(func() error { n, err = unix.Read(int(r), p); return err })
	if err == nil && n == 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		var n int
		if err := retryEINTR(func() (err error) { n, err = unix.Write(fd, p); return err }); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
