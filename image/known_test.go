package image

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/compress"
)

// fakeMemo knows one blob, and opens it by a function.
type fakeMemo struct {
	blob v1.Descriptor
	open func() (*os.File, error)
	kept int
}

func (m *fakeMemo) Blob(digest.Digest, string) (v1.Descriptor, bool) {
	return m.blob, m.blob.Digest != ""
}

func (m *fakeMemo) KeepBlob(_ digest.Digest, _ string, d v1.Descriptor) { m.blob = d }

func (m *fakeMemo) Open(context.Context, v1.Descriptor) (*os.File, error) { return m.open() }

func (m *fakeMemo) Keep(_ context.Context, fill func(io.Writer) error) (v1.Descriptor, error) {
	var out bytes.Buffer
	err := fill(&out)
	m.kept++
	return v1.Descriptor{Digest: digest.FromBytes(out.Bytes()), Size: int64(out.Len())}, err
}

// TestKnown: a blob that the memo has is copied; where it cannot be read to its end, the rest is
// compressed again, and the bytes are the same.
func TestKnown(t *testing.T) {
	layers := []Layer{&fakeLayer{text: strings.Repeat("some text ", 1000)}}
	m := &fakeMemo{}
	write := func() (text string, reads int) {
		t.Helper()
		m.kept = 0
		_, err := Pack(t.Context(), layers, PackOptions{Compressor: compress.Compression{}, Memo: m}, func(ctx context.Context, b *Blob) (v1.Descriptor, error) {
			var out bytes.Buffer
			err := b.Write(ctx, &out)
			text = out.String()
			return v1.Descriptor{}, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return text, m.kept
	}
	want, _ := write()
	if int64(len(want)) != m.blob.Size || m.blob.Digest != digest.FromString(want) {
		t.Fatalf("kept %v of %d bytes", m.blob, len(want))
	}
	file := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	first := func(n int) func() (*os.File, error) {
		return func() (*os.File, error) {
			r, w, err := os.Pipe()
			if err == nil {
				_, err = io.WriteString(w, want[:n])
				w.Close()
			}
			return r, err
		}
	}
	for name, c := range map[string]struct {
		open func() (*os.File, error)
		kept int
	}{
		"there":         {func() (*os.File, error) { return os.Open(file) }, 0},
		"gone":          {func() (*os.File, error) { return nil, fs.ErrNotExist }, 1},
		"not readable":  {func() (*os.File, error) { return os.OpenFile(file, os.O_WRONLY, 0) }, 1},
		"cut short":     {first(len(want) / 2), 1},
		"without start": {first(0), 1},
	} {
		m.open = c.open
		if got, kept := write(); got != want || kept != c.kept {
			t.Errorf("%s: %d bytes, the same: %v; kept %d times, want %d", name, len(got), got == want, kept, c.kept)
		}
	}
}
