package layer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/layertest"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// proofs is a memo of one blob.
type proofs struct {
	blob   v1.Descriptor
	diffID digest.Digest
	tar    layer.Unpacked
	kept   int
}

func (p *proofs) Unpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest) (layer.Unpacked, bool) {
	return p.tar, p.kept > 0 && at == (tree.Stamp{}) && blob.Digest == p.blob.Digest && diffID == p.diffID
}

func (p *proofs) KeepUnpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest, u layer.Unpacked) {
	p.blob, p.diffID, p.tar, p.kept = blob, diffID, u, p.kept+1
}

// stored makes a blob of a tar that counts how often it is opened.
type stored struct {
	tar, gz []byte
	opened  int
}

func newStored(t *testing.T) *stored {
	t.Helper()
	tar, err := layertest.Tar(layertest.Dir("d", 0o755, 0), layertest.File("d/f", "content"))
	if err != nil {
		t.Fatal(err)
	}
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	_, err = z.Write(tar)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return &stored{tar: tar, gz: gz.Bytes()}
}

// blob returns a blob that is served as data.
func (s *stored) blob(memo layer.BlobMemo, data []byte) *layer.Blob {
	b := &layer.Blob{
		Name: "blob", DiffID: digest.FromBytes(s.tar),
		Descriptor: v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromBytes(s.gz), Size: int64(len(s.gz))},
		Fetch: func(context.Context) (io.ReadCloser, error) {
			s.opened++
			return io.NopCloser(bytes.NewReader(data)), nil
		},
	}
	b.Remember(memo)
	return b
}

func readStored(t *testing.T, b *layer.Blob) ([]byte, error) {
	t.Helper()
	r, err := b.OpenStored(t.Context())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestBlobRemembered: whatever verified a blob, the next one is not read to know its tar, and not
// unpacked to be passed on.
func TestBlobRemembered(t *testing.T) {
	ways := map[string]func(*layer.Blob) error{
		"Info":       func(b *layer.Blob) error { _, err := b.Info(t.Context()); return err },
		"Write":      func(b *layer.Blob) error { return b.Write(t.Context(), io.Discard) },
		"OpenStored": func(b *layer.Blob) error { _, err := readStored(t, b); return err },
	}
	for name, verify := range ways {
		t.Run(name, func(t *testing.T) {
			s, memo := newStored(t), &proofs{}
			first := s.blob(memo, s.gz)
			if first.Verified() {
				t.Error("it is known before it was read")
			}
			if err := verify(first); err != nil {
				t.Fatal(err)
			}
			want := layer.Unpacked{Size: int64(len(s.tar)), Entries: 2}
			if memo.kept != 1 || memo.tar != want || s.opened != 1 {
				t.Fatalf("kept %d times %+v, opened %d times", memo.kept, memo.tar, s.opened)
			}
			for what, b := range map[string]*layer.Blob{"the same": first, "another": s.blob(memo, s.gz)} {
				info, err := b.Info(t.Context())
				if err != nil || info.Size != want.Size || info.DiffID != b.DiffID || !b.Verified() || s.opened != 1 {
					t.Errorf("%s: %+v, %v, opened %d times", what, info, err, s.opened)
				}
			}
			if data, err := readStored(t, s.blob(memo, s.gz)); err != nil || !bytes.Equal(data, s.gz) {
				t.Errorf("passed on: %v", err)
			}
			var limit *tree.LimitError
			for what, budget := range map[string]*layer.Budget{"bytes": layer.NewBudget(want.Size-1, 10), "entries": layer.NewBudget(1<<20, 1)} {
				b := s.blob(memo, s.gz)
				b.Limit(budget)
				if _, err := b.Info(t.Context()); !errors.As(err, &limit) || b.Verified() {
					t.Errorf("%s: Info: %v", what, err)
				}
				if _, err := readStored(t, b); !errors.As(err, &limit) {
					t.Errorf("%s: OpenStored: %v", what, err)
				}
			}
		})
	}
}

// TestBlobDamagedNotRemembered: a blob that is damaged proves nothing, even where it unpacks to
// the right tar, and none is passed on, however well it is known.
func TestBlobDamagedNotRemembered(t *testing.T) {
	for at := range newStored(t).gz {
		for _, known := range []bool{false, true} {
			s, memo := newStored(t), &proofs{}
			if known {
				if _, err := s.blob(memo, s.gz).Info(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			kept := memo.kept
			bad := bytes.Clone(s.gz)
			bad[at] ^= 1
			b := s.blob(memo, bad)
			var mismatch *layer.DigestError
			if _, err := readStored(t, b); !errors.As(err, &mismatch) {
				t.Errorf("byte %d, known: %v: passed on: %v", at, known, err)
			}
			if err := b.Write(t.Context(), io.Discard); !errors.As(err, &mismatch) {
				t.Errorf("byte %d, known: %v: written: %v", at, known, err)
			}
			if memo.kept != kept || !known && b.Verified() {
				t.Errorf("byte %d, known: %v: it is remembered", at, known)
			}
		}
	}
	// Nor does one that unpacks to something else.
	s, memo := newStored(t), &proofs{}
	b := s.blob(memo, s.gz)
	b.DiffID = digest.FromString("another")
	if _, err := readStored(t, b); err == nil || memo.kept > 0 || b.Verified() {
		t.Errorf("another tar: %v, kept %d times", err, memo.kept)
	}
}
