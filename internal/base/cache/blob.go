package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/layer"
)

// FetchFunc opens a blob at its source. What is read from it is compared with the blob's digest.
type FetchFunc func(ctx context.Context) (io.ReadCloser, error)

// attempts limits how often to look for a blob that other processes fetch and remove.
const attempts = 100

// Blob opens a blob. One that is not in the cache, or is damaged there, is fetched first and
// kept; where fetch is nil the error is a *AbsentError or a *layer.DigestError. A size below 0
// means unknown.
func (s *Store) Blob(ctx context.Context, d v1.Descriptor, fetch FetchFunc) (*os.File, error) {
	return s.blob(ctx, d, math.MaxInt64, fetch)
}

// blob is like Blob, but treats a blob of more bytes than most as not there.
func (s *Store) blob(ctx context.Context, d v1.Descriptor, most int64, fetch FetchFunc) (*os.File, error) {
	for range attempts {
		f, err := s.find(ctx, d, most)
		switch {
		case f != nil:
			return f, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case fetch == nil && err == nil:
			return nil, &AbsentError{s.dir, d.Digest}
		case fetch == nil:
			return nil, err
		}
		if err := s.download(ctx, d, most, fetch); err != nil && !errors.Is(err, errAgain) {
			return nil, err
		}
	}
	return nil, &DirError{s.dir, fmt.Errorf("blob %s goes away as soon as it is there", d.Digest)}
}

// Has reports whether there is a blob of this name and size, which may be damaged.
func (s *Store) Has(d v1.Descriptor) bool {
	info, err := s.root.Lstat(ocilayout.BlobPath(d.Digest))
	return err == nil && info.Mode().IsRegular() && info.Size() == d.Size
}

// Document returns the content of a blob that is JSON. See Blob.
func (s *Store) Document(ctx context.Context, d v1.Descriptor, fetch FetchFunc) ([]byte, error) {
	if d.Size > ocijson.MaxSize {
		return nil, fmt.Errorf("blob %s is said to have %d bytes, more than %d", d.Digest, d.Size, ocijson.MaxSize)
	}
	f, err := s.blob(ctx, d, ocijson.MaxSize, fetch)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(layer.Verify(f, d))
}

// find opens a blob that matches its digest. It returns nil if there is none, with an error if
// something else has its name or it has more bytes than most.
func (s *Store) find(ctx context.Context, d v1.Descriptor, most int64) (*os.File, error) {
	f, err := ocilayout.OpenBlob(s.root, d.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cache %q: blob %s: %w", s.dir, d.Digest, regfile.Cause(err))
	}
	if st, err := f.Stat(); err == nil && st.Size() > most {
		f.Close()
		return nil, fmt.Errorf("cache %q: blob %s has %d bytes, more than %d", s.dir, d.Digest, st.Size(), most)
	}
	if err := s.verify(ctx, f, d); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// verify compares an open blob with its size, and with its digest once in this process. It
// leaves the file at its start.
func (s *Store) verify(ctx context.Context, f *os.File, want v1.Descriptor) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	d, what := want.Digest, fmt.Sprintf("blob in the cache %q", s.dir)
	if want.Size >= 0 && st.Size() != want.Size {
		return &layer.DigestError{What: what, Want: d, WantSize: want.Size, GotSize: st.Size()}
	}
	s.mu.Lock()
	seen := s.good[d]
	s.mu.Unlock()
	if seen != nil && os.SameFile(seen, st) && seen.Size() == st.Size() && seen.ModTime().Equal(st.ModTime()) {
		return nil
	}
	hash := d.Algorithm().Hash()
	if _, err := io.CopyBuffer(struct{ io.Writer }{hash}, ctxio.Reader(ctx, f), make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("cache %q: blob %s: %w", s.dir, d, regfile.Cause(err))
	}
	if got := digest.NewDigest(d.Algorithm(), hash); got != d {
		return &layer.DigestError{What: what, Want: d, Got: got}
	}
	s.mu.Lock()
	s.good[d] = st
	s.mu.Unlock()
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// errAgain says that another process was at work on a blob: look again.
var errAgain = errors.New("another process fetches it")

// lockPrefix begins the names of the locks for fetching a blob.
const lockPrefix = ".fetch-"

// lockName returns the name of the lock for fetching a blob.
func lockName(d digest.Digest) string {
	return lockPrefix + d.Algorithm().String() + "-" + d.Encoded() + ".lock"
}

// download fetches a blob, unless another process has done so meanwhile.
func (s *Store) download(ctx context.Context, d v1.Descriptor, most int64, fetch FetchFunc) error {
	if err := s.writable(); err != nil {
		return err
	}
	lock, err := flock.Take(ctx, s.root, lockName(d.Digest), flock.Exclusive,
		fmt.Sprintf("another process fetches blob %s into the cache %q", d.Digest, s.dir))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil { // otherwise it waits for nobody: at worst a blob is fetched twice
		defer lock.Release()
		if done, _ := s.find(ctx, d, most); done != nil {
			done.Close()
			return errAgain
		}
	}
	name := ocilayout.BlobPath(d.Digest)
	if err := s.makeParent(name); err != nil {
		return &DirError{s.dir, err}
	}
	f, err := atomicfile.CreateIn(s.root, name)
	if err != nil {
		return &DirError{s.dir, err}
	}
	defer f.Abort()
	return s.fill(ctx, f, d, fetch)
}

// fill fetches a blob into a file and gives it its name.
func (s *Store) fill(ctx context.Context, f *atomicfile.File, d v1.Descriptor, fetch FetchFunc) error {
	r, err := fetch(ctx)
	if err != nil {
		return err
	}
	checked := layer.Verify(r, d)
	defer checked.Close()
	if _, err := io.CopyBuffer(diskWriter{s, f.File}, ctxio.Reader(ctx, checked), make([]byte, 1<<20)); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return &DirError{s.dir, regfile.Cause(err)}
	}
	if err := f.Commit(); err != nil {
		return &DirError{s.dir, err}
	}
	s.mu.Lock()
	s.good[d.Digest] = st // it was verified while it was fetched
	s.added = true
	s.mu.Unlock()
	return nil
}

// diskWriter distinguishes errors of the cache's disk from those of the source.
type diskWriter struct {
	s *Store
	f *os.File
}

func (w diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		err = &DirError{w.s.dir, regfile.Cause(err)}
	}
	return n, err
}
