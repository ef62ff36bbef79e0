package layer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/layertest"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// sectionKey is what a memo knows a section by.
type sectionKey struct {
	blob   digest.Digest
	size   int64
	at     tree.Stamp
	diffID digest.Digest
}

// sections is a memo of blobs by where they are.
type sections map[sectionKey]layer.Unpacked

func (s sections) Unpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest) (layer.Unpacked, bool) {
	u, ok := s[sectionKey{blob.Digest, blob.Size, at, diffID}]
	return u, ok
}

func (s sections) KeepUnpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest, u layer.Unpacked) {
	s[sectionKey{blob.Digest, blob.Size, at, diffID}] = u
}

const sectionAt = 1000

// archived is a layer in the middle of a file.
type archived struct {
	path   string
	data   []byte
	diffID digest.Digest
	opened int
}

func newArchived(t *testing.T, data []byte, diffID digest.Digest) *archived {
	t.Helper()
	a := &archived{path: filepath.Join(t.TempDir(), "archive"), data: data, diffID: diffID}
	all := bytes.Join([][]byte{bytes.Repeat([]byte("<"), sectionAt), data, []byte(strings.Repeat(">", 1000))}, nil)
	if err := os.WriteFile(a.path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// layer opens the file as another program would.
func (a *archived) layer(t *testing.T, memo layer.BlobMemo) *layer.Blob {
	t.Helper()
	f, err := os.Open(a.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s := &layer.Section{File: f, Size: int64(len(a.data))}
	if s.Stamp, err = tree.StampOf(f); err != nil {
		t.Fatal(err)
	}
	s.Stamp.Offset = sectionAt
	b := &layer.Blob{Name: "archived", DiffID: a.diffID, Section: s, Fetch: func(context.Context) (io.ReadCloser, error) {
		a.opened++
		return io.NopCloser(io.NewSectionReader(f, sectionAt, int64(len(a.data)))), nil
	}}
	b.Remember(memo)
	return b
}

func largeTar(t *testing.T) []byte {
	t.Helper()
	data, err := layertest.Tar(layertest.Dir("d", 0o755, 0), layertest.File("d/f", strings.Repeat("content", 50_000)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSectionRemembered: a layer of an archive that was read once is neither hashed nor unpacked
// for its digest, and is written as it is.
func TestSectionRemembered(t *testing.T) {
	tar := largeTar(t)
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	_, err := z.Write(tar)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"plain": tar, "compressed": gz.Bytes()} {
		t.Run(name, func(t *testing.T) {
			a, memo := newArchived(t, data, digest.FromBytes(tar)), sections{}
			if err := a.layer(t, memo).Write(t.Context(), io.Discard); err != nil {
				t.Fatal(err)
			}
			want := layer.Unpacked{Size: int64(len(tar)), Entries: 2}
			for k, u := range memo {
				if k.blob != "" || u != want {
					t.Errorf("kept %+v for %+v", u, k)
				}
			}
			if len(memo) != 1 || a.opened != 1 {
				t.Fatalf("kept %d, opened %d times", len(memo), a.opened)
			}
			b := a.layer(t, memo)
			if info, err := b.Info(t.Context()); err != nil || info.Size != want.Size || info.DiffID != a.diffID || !b.Verified() || b.Unread() || a.opened != 1 {
				t.Errorf("info %+v, %v, opened %d times", info, err, a.opened)
			}
			writeEverywhere(t, a, memo, tar)
			if wantOpened := map[string]int{"plain": 1, "compressed": 4}[name]; a.opened != wantOpened {
				t.Errorf("opened %d times, want %d", a.opened, wantOpened)
			}
		})
	}
}

// writeEverywhere writes a layer to a file, a pipe and a buffer.
func writeEverywhere(t *testing.T, a *archived, memo sections, tar []byte) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	piped := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(r)
		piped <- all
	}()
	var buffer bytes.Buffer
	for _, to := range []io.Writer{file, w, &buffer} {
		if err := a.layer(t, memo).Write(t.Context(), to); err != nil {
			t.Errorf("%T: %v", to, err)
		}
	}
	w.Close()
	written, err := os.ReadFile(file.Name())
	if err != nil || !bytes.Equal(written, tar) || !bytes.Equal(<-piped, tar) || !bytes.Equal(buffer.Bytes(), tar) {
		t.Errorf("what is written is not the tar: %v", err)
	}
}

// TestSectionChanged: an archive that was changed after it was read is read again, however it looks.
func TestSectionChanged(t *testing.T) {
	tar := largeTar(t)
	other := bytes.Replace(tar, []byte("content"), []byte("CONTENT"), 1)
	ways := map[string]func(t *testing.T, a *archived, all []byte) error{
		"written to, and its time put back": func(_ *testing.T, a *archived, all []byte) error {
			st, err := os.Stat(a.path)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(a.path, all, 0o600), os.Chtimes(a.path, st.ModTime(), st.ModTime()))
		},
		"replaced by a rename": func(_ *testing.T, a *archived, all []byte) error {
			return errors.Join(os.WriteFile(a.path+"2", all, 0o600), os.Rename(a.path+"2", a.path))
		},
		"made anew, maybe with the same inode": func(_ *testing.T, a *archived, all []byte) error {
			return errors.Join(os.Remove(a.path), os.WriteFile(a.path, all, 0o600))
		},
	}
	for name, change := range ways {
		t.Run(name, func(t *testing.T) {
			a, memo := newArchived(t, tar, digest.FromBytes(tar)), sections{}
			if _, err := a.layer(t, memo).Info(t.Context()); err != nil {
				t.Fatal(err)
			}
			early := a.layer(t, memo) // which was opened before the change
			time.Sleep(20 * time.Millisecond)
			all, err := os.ReadFile(a.path)
			if err != nil {
				t.Fatal(err)
			}
			copy(all[sectionAt:], other)
			if err := change(t, a, all); err != nil {
				t.Fatal(err)
			}
			b := a.layer(t, memo)
			var mismatch *layer.DigestError
			if err := b.Write(t.Context(), io.Discard); !errors.As(err, &mismatch) || b.Verified() {
				t.Errorf("written: %v", err)
			}
			if _, err := a.layer(t, memo).Info(t.Context()); !errors.As(err, &mismatch) {
				t.Errorf("info: %v", err)
			}
			if err := early.Write(t.Context(), io.Discard); name[0] == 'w' && (err == nil || !strings.Contains(err.Error(), "changed while it was read")) {
				t.Errorf("written by who had it open: %v", err)
			}
			if len(memo) != 1 {
				t.Errorf("kept %d", len(memo))
			}
		})
	}
}

// TestSectionClaims: that a section is one tar says nothing of what else it is said to be.
func TestSectionClaims(t *testing.T) {
	tar := largeTar(t)
	a, memo := newArchived(t, tar, digest.FromBytes(tar)), sections{}
	if _, err := a.layer(t, memo).Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	wrong := digest.FromString("another")
	for name, claim := range map[string]func(*layer.Blob){
		"another diffID": func(b *layer.Blob) { b.DiffID = wrong },
		"another digest": func(b *layer.Blob) { b.Descriptor = v1.Descriptor{Digest: wrong, Size: int64(len(tar))} },
		"another place":  func(b *layer.Blob) { b.Section.Stamp.Offset-- },
		"another size":   func(b *layer.Blob) { b.Section.Size-- },
	} {
		b := a.layer(t, memo)
		claim(b)
		if b.Verified() {
			t.Errorf("%s: it is believed", name)
		}
	}
	for range 2 { // not the second time either
		b := a.layer(t, memo)
		b.DiffID = wrong
		if _, err := b.Info(t.Context()); !errors.Is(err, layer.ErrMismatch) {
			t.Errorf("another diffID: %v", err)
		}
		if err := b.Write(t.Context(), io.Discard); !errors.Is(err, layer.ErrMismatch) {
			t.Errorf("another diffID, written: %v", err)
		}
	}
	b := a.layer(t, memo)
	b.Limit(layer.NewBudget(int64(len(tar))-1, 10))
	var limit *tree.LimitError
	if err := b.Write(t.Context(), io.Discard); !errors.As(err, &limit) {
		t.Errorf("over its limit: %v", err)
	}
	unstamped := a.layer(t, memo)
	unstamped.Section.Stamp = tree.Stamp{Offset: sectionAt}
	if err := unstamped.Write(t.Context(), io.Discard); err != nil || len(memo) != 1 {
		t.Errorf("without a time of its last change: %v, kept %d", err, len(memo))
	}
}
