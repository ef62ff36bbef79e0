package dockerarchive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/imagetest"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/layer"
)

// inFile returns what write writes to a file that begins with some text.
func inFile(t *testing.T, write func(w io.Writer) error) ([]byte, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "a.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("before"); err != nil {
		t.Fatal(err)
	}
	writeErr := write(f)
	data, err := os.ReadFile(f.Name())
	if err != nil || !bytes.HasPrefix(data, []byte("before")) {
		t.Fatalf("%q, %v", data[:min(len(data), 10)], err)
	}
	return data[len("before"):], writeErr
}

// storedIn returns an image as a layout has it, compressed.
func storedIn(t *testing.T, img image.Named) image.Named {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := ocilayout.NewDir(dir, ocilayout.Options{RefName: "x", TempDir: t.TempDir()}).Write(t.Context(), []image.Named{img}, nil); err != nil {
		t.Fatal(err)
	}
	l, err := ocilayout.Open(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	stored, err := l.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return image.Named{Image: stored, Names: img.Names}
}

// TestRoom: in a file, where headers are written last, archives have the bytes that they have in
// a pipe.
func TestRoom(t *testing.T) {
	for _, c := range imagetest.Images(t) {
		// Images are made anew each time: nothing is known of them.
		fresh := func() image.Named {
			for _, again := range imagetest.Images(t) {
				if again.Name == c.Name {
					return again.Image
				}
			}
			return c.Image
		}
		for kind, img := range map[string]func() image.Named{"made": fresh, "stored": func() image.Named { return storedIn(t, fresh()) }} {
			t.Run(kind+" "+c.Name, func(t *testing.T) {
				opts := dockerarchive.Options{TempDir: t.TempDir()}
				for what, write := range map[string]func(w io.Writer) error{
					"one": func(w io.Writer) error { return dockerarchive.Write(t.Context(), w, img(), opts) },
					"twice": func(w io.Writer) error {
						return dockerarchive.WriteAll(t.Context(), w, []image.Named{img(), img()}, opts)
					},
					"skopeo": func(w io.Writer) error {
						named := img()
						named.RepoTags = []string{"a:1"}
						return dockerarchive.WriteSkopeo(t.Context(), w, named, opts)
					},
				} {
					var want bytes.Buffer
					if err := write(&want); err != nil {
						t.Fatal(err)
					}
					if got, err := inFile(t, write); err != nil || !bytes.Equal(got, want.Bytes()) {
						t.Errorf("%s: %d bytes, which should be others, %d; %v", what, len(got), want.Len(), err)
					}
				}
			})
		}
	}
}

// TestRoomReadsOnce: in a file, content is read once; a layer that is there again is not kept.
func TestRoomReadsOnce(t *testing.T) {
	var opens atomic.Int32
	img := func() image.Named {
		d := image.Description{Architecture: "amd64", OS: "linux", History: make([]image.History, 3)}
		d.Layers = []image.Layer{counted("a", &opens), counted("b", &opens), counted("b", &opens)}
		return image.Named{Image: image.New(d)}
	}
	got, err := inFile(t, func(w io.Writer) error { return dockerarchive.Write(t.Context(), w, img(), dockerarchive.Options{}) })
	if n := opens.Load(); err != nil || n != 3 {
		t.Errorf("3 files were opened %d times, %v", n, err)
	}
	if want := archive(t, dockerarchive.Options{}, img()); !bytes.Equal(got, want) {
		t.Errorf("it has %d bytes, want %d", len(got), len(want))
	}
}

// huge is a layer of nothing but zeros, for whose size a header has a record.
type huge struct{ writes *int }

func (huge) Title() string { return "huge" }
func (huge) Unread() bool  { return true }

func (h huge) Info(context.Context) (layer.Info, error) {
	return layer.Info{DiffID: digest.FromString("huge"), Size: 9 << 30}, nil
}

func (h huge) WriteOnce(ctx context.Context, w io.Writer) (layer.Info, error) {
	if err := h.Write(ctx, w); err != nil {
		return layer.Info{}, err
	}
	return h.Info(ctx)
}

func (h huge) Write(ctx context.Context, w io.Writer) error {
	*h.writes++
	info, _ := h.Info(ctx)
	file := w.(interface {
		File() *os.File
		Copied(n int64)
	})
	file.Copied(info.Size - 1)
	if _, err := file.File().Seek(info.Size-1, io.SeekCurrent); err != nil {
		return err
	}
	_, err := w.Write([]byte{0})
	return err
}

// TestNoRoom: a header that needs more room than most is written before its layer.
func TestNoRoom(t *testing.T) {
	writes := 0
	d := image.Description{Architecture: "amd64", OS: "linux", Layers: []image.Layer{huge{&writes}}, History: make([]image.History, 1)}
	f, err := os.Create(filepath.Join(t.TempDir(), "a.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := dockerarchive.Write(t.Context(), f, image.Named{Image: image.New(d)}, dockerarchive.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(f).Next()
	if err != nil || h.Size != 9<<30 || writes != 2 {
		t.Errorf("%+v, %v, written %d times", h, err, writes)
	}
	if st, err := f.Stat(); err != nil || st.Size()%10240 != 0 || st.Size() < 9<<30 {
		t.Errorf("%v, %v", st, err)
	}
}

// TestRoomFails: a layer that cannot be read ends the archive, whether it is written or read
// ahead.
func TestRoomFails(t *testing.T) {
	broken := errors.New("broken")
	for at := range 4 {
		d := image.Description{Architecture: "amd64", OS: "linux", History: make([]image.History, 4)}
		var opens atomic.Int32
		for i := range 4 {
			if i == at {
				d.Layers = append(d.Layers, brokenLayer{counted("broken", &opens), broken})
			} else {
				d.Layers = append(d.Layers, counted("good", &opens))
			}
		}
		_, err := inFile(t, func(w io.Writer) error {
			return dockerarchive.Write(t.Context(), w, image.Named{Image: image.New(d)}, dockerarchive.Options{})
		})
		if !errors.Is(err, broken) {
			t.Errorf("layer %d is broken: %v", at, err)
		}
	}
}

// brokenLayer cannot be read ahead.
type brokenLayer struct {
	image.Layer
	err error
}

func (b brokenLayer) Info(context.Context) (layer.Info, error) { return layer.Info{}, b.err }
