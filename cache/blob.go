package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/ocilayout"
)

// FetchFunc opens a blob where it comes from. What it reads is compared with
// the blob's digest.
type FetchFunc func(ctx context.Context) (io.ReadCloser, error)

// Blob opens a blob. One that is not in the cache, or is damaged there, is
// fetched first and kept; where fetch is nil it is a *MissingError or a
// *layer.DigestError. A size below 0 is one that is not known.
func (s *Store) Blob(ctx context.Context, d v1.Descriptor, fetch FetchFunc) (*os.File, error) {
	for {
		f, err := s.find(ctx, d.Digest)
		switch {
		case f != nil:
			return f, checkSize(f, d)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case fetch == nil && err == nil:
			return nil, &MissingError{s.dir, d.Digest}
		case fetch == nil:
			return nil, err
		}
		if err := s.download(ctx, d, fetch); err != nil && !errors.Is(err, errAgain) {
			return nil, err
		}
	}
}

// Has tells whether there is a blob by this name, which may be damaged.
func (s *Store) Has(d digest.Digest) bool {
	_, err := s.root.Lstat(ocilayout.BlobPath(d))
	return err == nil
}

// Document returns the content of a blob that is JSON. See Blob.
func (s *Store) Document(ctx context.Context, d v1.Descriptor, fetch FetchFunc) ([]byte, error) {
	if d.Size > ocijson.MaxSize {
		return nil, fmt.Errorf("blob %s is said to have %d bytes, more than %d", d.Digest, d.Size, ocijson.MaxSize)
	}
	f, err := s.Blob(ctx, d, fetch)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > ocijson.MaxSize {
		return nil, fmt.Errorf("blob %s has %d bytes, more than %d", d.Digest, st.Size(), ocijson.MaxSize)
	}
	return io.ReadAll(layer.Verify(f, d))
}

func checkSize(f *os.File, d v1.Descriptor) error {
	st, err := f.Stat()
	if err == nil && d.Size >= 0 && st.Size() != d.Size {
		err = fmt.Errorf("blob %s has %d bytes, %d are expected", d.Digest, st.Size(), d.Size)
	}
	if err != nil {
		f.Close()
	}
	return err
}

// find opens a blob that is what its digest says. It returns nil where there is
// none, with an error where something else has its name.
func (s *Store) find(ctx context.Context, d digest.Digest) (*os.File, error) {
	f, err := ocilayout.OpenBlob(s.root, d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cache %q: blob %s: %w", s.dir, d, cause(err))
	}
	if err := s.verify(ctx, f, d); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// verify compares an open blob with its digest, once in this process. It is
// then at its start again.
func (s *Store) verify(ctx context.Context, f *os.File, d digest.Digest) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	s.mu.Lock()
	seen := s.good[d]
	s.mu.Unlock()
	if seen != nil && os.SameFile(seen, st) && seen.Size() == st.Size() && seen.ModTime().Equal(st.ModTime()) {
		return nil
	}
	hash := d.Algorithm().Hash()
	if _, err := io.CopyBuffer(struct{ io.Writer }{hash}, ctxio.Reader(ctx, f), make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("cache %q: blob %s: %w", s.dir, d, cause(err))
	}
	if got := digest.NewDigest(d.Algorithm(), hash); got != d {
		return &layer.DigestError{What: fmt.Sprintf("blob in the cache %q", s.dir), Want: d, Got: got}
	}
	s.mu.Lock()
	s.good[d] = st
	s.mu.Unlock()
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// errAgain says that another process was at work on a blob: look again.
var errAgain = errors.New("another process fetches it")

// partialName is what a blob is called while it is fetched. The file is locked
// by who does.
func partialName(d digest.Digest) string {
	return partialPrefix + d.Algorithm().String() + "-" + d.Encoded()
}

const partialPrefix = ".partial-"

// download fetches a blob, unless another process did meanwhile.
func (s *Store) download(ctx context.Context, d v1.Descriptor, fetch FetchFunc) (err error) {
	name := partialName(d.Digest)
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o666)
	if err != nil {
		return &DirError{s.dir, cause(err)}
	}
	defer f.Close()
	if err := flock.Wait(ctx, f, flock.Exclusive); err != nil {
		return err
	}
	if !s.isAt(f, name) {
		return errAgain // it has become the blob, or was given up
	}
	defer func() {
		if err != nil {
			_ = s.root.Remove(name)
		}
	}()
	if done, _ := s.find(ctx, d.Digest); done != nil {
		done.Close()
		return errAgain
	}
	if err := f.Truncate(0); err != nil {
		return &DirError{s.dir, cause(err)}
	}
	r, err := fetch(ctx)
	if err != nil {
		return err
	}
	checked := layer.Verify(r, d)
	defer checked.Close()
	if _, err := io.CopyBuffer(diskWriter{s, f}, ctxio.Reader(ctx, checked), make([]byte, 1<<20)); err != nil {
		return err
	}
	return s.keep(f, name, d.Digest)
}

// isAt tells whether a file still has its name.
func (s *Store) isAt(f *os.File, name string) bool {
	here, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := s.root.Lstat(name)
	return err == nil && os.SameFile(here, there)
}

// keep brings a whole blob to disk and gives it its name.
func (s *Store) keep(f *os.File, name string, d digest.Digest) error {
	to := ocilayout.BlobPath(d)
	err := f.Sync()
	if err == nil {
		err = s.root.MkdirAll(path.Dir(to), 0o777)
	}
	if err == nil {
		err = s.root.Rename(name, to)
	}
	if err == nil {
		err = atomicfile.SyncDir(path.Join(s.layout, path.Dir(to)))
	}
	if err != nil {
		return &DirError{s.dir, cause(err)}
	}
	if st, err := f.Stat(); err == nil { // it was verified on its way
		s.mu.Lock()
		s.good[d] = st
		s.mu.Unlock()
	}
	return nil
}

// diskWriter tells errors of the cache's disk from those of the source.
type diskWriter struct {
	s *Store
	f *os.File
}

func (w diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		err = &DirError{w.s.dir, cause(err)}
	}
	return n, err
}
