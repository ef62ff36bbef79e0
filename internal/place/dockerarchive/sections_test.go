package dockerarchive_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/imagetest"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// fakeMemo is an image.Memo in a directory.
type fakeMemo struct {
	dir    string
	broken bool // nothing that was kept can be opened

	mu   sync.Mutex
	has  map[string]v1.Descriptor
	kept int
}

func newMemo(t *testing.T) *fakeMemo {
	return &fakeMemo{dir: t.TempDir(), has: map[string]v1.Descriptor{}}
}

func (m *fakeMemo) Blob(id digest.Digest, compressor string) (v1.Descriptor, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.has[id.String()+" "+compressor]
	return d, ok
}

func (m *fakeMemo) KeepBlob(id digest.Digest, compressor string, d v1.Descriptor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.has[id.String()+" "+compressor] = d
}

func (m *fakeMemo) Open(_ context.Context, d v1.Descriptor) (*os.File, error) {
	if m.broken {
		return nil, errors.New("damaged")
	}
	return os.Open(filepath.Join(m.dir, d.Digest.Encoded()))
}

func (m *fakeMemo) Keep(_ context.Context, fill func(io.Writer) error) (v1.Descriptor, error) {
	var b bytes.Buffer
	if err := fill(&b); err != nil {
		return v1.Descriptor{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept++
	d := v1.Descriptor{Digest: digest.FromBytes(b.Bytes()), Size: int64(b.Len())}
	return d, os.WriteFile(filepath.Join(m.dir, d.Digest.Encoded()), b.Bytes(), 0o600)
}

// archive returns the archive of images.
func archive(t *testing.T, opts dockerarchive.Options, images ...image.Named) []byte {
	t.Helper()
	opts.TempDir = t.TempDir()
	var out bytes.Buffer
	if err := dockerarchive.WriteAll(t.Context(), &out, images, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// packers are the compressions that archives are tested with.
var packers = []compress.Compression{
	{Algorithm: compress.Gzip}, {Algorithm: compress.Gzip, Level: 1}, {Algorithm: compress.Zstd}, {Algorithm: compress.Zstd, Level: 19},
}

// TestSections: a compressed archive unpacks to the one that is not compressed, has each layer as
// the compressor makes it alone, and does not depend on a memo or its state.
func TestSections(t *testing.T) {
	for _, c := range packers {
		for _, img := range imagetest.Images(t) {
			t.Run(c.String()+" "+img.Name, func(t *testing.T) {
				opts := dockerarchive.Options{Compressor: c}
				got := archive(t, opts, img.Image)
				if plain := archive(t, dockerarchive.Options{}, img.Image); !bytes.Equal(unpack(t, got), plain) {
					t.Error("it unpacks to other bytes than the archive has that is not compressed")
				}
				for i, l := range img.Image.Layers() {
					var blob bytes.Buffer
					if err := c.Fill(t.Context(), &blob, func(w io.Writer) error { return l.Write(t.Context(), w) }); err != nil {
						t.Fatal(err)
					}
					if !bytes.Contains(got, blob.Bytes()) {
						t.Errorf("layer %d is not a stream of its own", i)
					}
				}
				memo := newMemo(t)
				opts.Memo = memo
				for state, broken := range []bool{false, false, true} {
					memo.broken = broken
					if again := archive(t, opts, img.Image); !bytes.Equal(again, got) {
						t.Errorf("with a memo, run %d, it has other bytes", state)
					}
				}
			})
		}
	}
}

func unpack(t *testing.T, data []byte) []byte {
	t.Helper()
	r, _, err := compress.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// counted is a layer that counts how often its content is opened.
func counted(name string, opens *atomic.Int32) *layer.Layer {
	text := bytes.Repeat([]byte(name), 1000)
	return layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			yield(&tree.Entry{Path: name, Type: tree.Regular, Size: int64(len(text)), Content: tree.OpenFunc(func() (io.ReadCloser, error) {
				opens.Add(1)
				return io.NopCloser(bytes.NewReader(text)), nil
			})}, nil)
		}
	}, layer.Options{Title: name})
}

// TestReadOnce: content is read once for a compressed archive, and a layer that the memo has is
// not compressed again: neither one that is made nor one that is stored somewhere.
func TestReadOnce(t *testing.T) {
	var opens atomic.Int32
	img := func(names ...string) image.Named {
		d := image.Description{Architecture: "amd64", OS: "linux"}
		for _, name := range names {
			d.Layers = append(d.Layers, counted(name, &opens))
			d.History = append(d.History, image.History{})
		}
		return image.Named{Image: image.New(d)}
	}
	memo := newMemo(t)
	opts := dockerarchive.Options{Compressor: compress.Compression{}, Memo: memo}
	first := archive(t, opts, img("a", "b", "c"))
	if n := opens.Load(); n != 3 || memo.kept != 3 {
		t.Errorf("3 files were opened %d times, %d layers kept", n, memo.kept)
	}

	other := img("a", "d")
	for _, l := range other.Layers() { // as if a memo knew their digests
		if _, err := l.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	opens.Store(0)
	archive(t, opts, other)
	if n := opens.Load(); n != 1 || memo.kept != 4 {
		t.Errorf("one new layer was opened %d times, %d layers kept", n, memo.kept)
	}

	path := filepath.Join(t.TempDir(), "a.tar.gz")
	if err := os.WriteFile(path, first, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := dockerarchive.Open(t.Context(), path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	stored, err := a.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range stored.Layers() {
		if _, err := l.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	copied := archive(t, opts, image.Named{Image: stored})
	if memo.kept != 4 {
		t.Errorf("a copy compressed %d layers", memo.kept-4)
	}
	opts.Memo = nil
	if !bytes.Equal(copied, archive(t, opts, image.Named{Image: stored})) {
		t.Error("a copy by the memo has other bytes")
	}
}

// TestSharedLayers: what images of one archive share is compressed once.
func TestSharedLayers(t *testing.T) {
	var opens atomic.Int32
	l, top := counted("shared", &opens), counted("top", &opens)
	one := image.Named{Image: image.New(image.Description{Architecture: "amd64", OS: "linux", Layers: []image.Layer{l, l}, History: make([]image.History, 2)})}
	two := image.Named{Image: image.New(image.Description{Architecture: "amd64", OS: "linux", Layers: []image.Layer{l, top}, History: make([]image.History, 2)})}
	for _, c := range packers {
		plain := archive(t, dockerarchive.Options{}, one, two)
		if got := unpack(t, archive(t, dockerarchive.Options{Compressor: c}, one, two)); !bytes.Equal(got, plain) {
			t.Errorf("%s: it unpacks to other bytes", c)
		}
		plain = archive(t, dockerarchive.Options{RepeatLayers: true}, one, two)
		if got := unpack(t, archive(t, dockerarchive.Options{Compressor: c, RepeatLayers: true}, one, two)); !bytes.Equal(got, plain) {
			t.Errorf("%s: with repeated layers it unpacks to other bytes", c)
		}
	}
}

// TestSectionsFail: errors of the output come back, and nothing is left running.
func TestSectionsFail(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range packers {
		for _, img := range imagetest.Images(t) {
			for after := range 4 {
				n := 0
				w := writerFunc(func(p []byte) (int, error) {
					if n++; n > after {
						return 0, broken
					}
					return len(p), nil
				})
				err := dockerarchive.Write(t.Context(), w, img.Image, dockerarchive.Options{Compressor: c, TempDir: t.TempDir()})
				if n > after && !errors.Is(err, broken) || n <= after && err != nil {
					t.Errorf("%s, %s: %v", c, img.Name, err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := dockerarchive.Write(ctx, io.Discard, img.Image, dockerarchive.Options{Compressor: c, TempDir: t.TempDir()})
			if len(img.Image.Layers()) > 0 && !errors.Is(err, context.Canceled) {
				t.Errorf("%s, %s: canceled: %v", c, img.Name, err)
			}
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
