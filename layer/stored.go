package layer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/ctxio"
)

// Stored is a layer whose tar is at hand as it is, in a file or an archive.
// Its bytes are checked against its digest each time that they are read.
type Stored struct {
	// Name names the layer in messages and titles.
	Name string
	// DiffID is what the layer's digest is said to be.
	DiffID digest.Digest
	// Open opens the tar.
	Open func() (io.ReadCloser, error)

	mu   sync.Mutex // held while the digest is computed
	info *Info
}

// Title names the layer.
func (s *Stored) Title() string { return s.Name }

// Info returns the tar's digest and size. The first call reads the tar; a
// *DigestError says that it is not what DiffID says.
func (s *Stored) Info(ctx context.Context) (Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.info == nil {
		info, err := s.copy(ctx, io.Discard)
		if err != nil {
			return Info{}, err
		}
		s.info = &info
	}
	return *s.info, nil
}

// Write writes the tar.
func (s *Stored) Write(ctx context.Context, w io.Writer) error {
	if _, err := s.Info(ctx); err != nil {
		return err
	}
	_, err := s.copy(ctx, w)
	return err
}

func (s *Stored) copy(ctx context.Context, w io.Writer) (Info, error) {
	r, err := s.Open()
	if err != nil {
		return Info{}, err
	}
	defer r.Close()
	h := sha256.New()
	buf := make([]byte, bufferSize)
	// The struct hides methods that would take the copy away from the context.
	n, err := io.CopyBuffer(struct{ io.Writer }{hashingWriter{w, h}}, ctxio.Reader(ctx, r), buf)
	if err != nil {
		return Info{}, fmt.Errorf("copy layer %q: %w", s.Name, err)
	}
	info := Info{DiffID: digest.NewDigest(digest.SHA256, h), Size: n}
	if info.DiffID != s.DiffID {
		return Info{}, &DigestError{What: fmt.Sprintf("layer %q", s.Name), Want: s.DiffID, Got: info.DiffID}
	}
	return info, nil
}
