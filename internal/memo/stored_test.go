package memo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/layertest"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// base is a stored image that counts how often a layer is opened.
type base struct {
	tars   [][]byte
	opened atomic.Int32
}

func newBase(t *testing.T) *base {
	t.Helper()
	tars, err := layertest.Difficult()
	if err != nil {
		t.Fatal(err)
	}
	return &base{tars: tars}
}

func (b *base) open(t *testing.T, m *Memo, budget *layer.Budget) *image.Stored {
	t.Helper()
	var layers []image.StoredLayer
	config := `{"rootfs":{"diff_ids":[`
	for i, data := range b.tars {
		d := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromBytes(data), Size: int64(len(data))}
		if i > 0 {
			config += ","
		}
		config += fmt.Sprintf("%q", d.Digest)
		layers = append(layers, &layer.Blob{Name: fmt.Sprint("layer ", i), Descriptor: d, DiffID: d.Digest, Fetch: func(context.Context) (io.ReadCloser, error) {
			b.opened.Add(1)
			return io.NopCloser(bytes.NewReader(data)), nil
		}})
	}
	img, err := image.NewStored([]byte(config+"]}}"), layers)
	if err != nil {
		t.Fatal(err)
	}
	img.Limit(budget)
	img.Remember(m.ForStored())
	return img
}

// files returns the entries of an image, and how often its layers were opened for them.
func (b *base) files(t *testing.T, m *Memo, budget *layer.Budget, opts tree.OverlayOptions) (string, int, error) {
	t.Helper()
	b.opened.Store(0)
	o, err := b.open(t, m, budget).Files(t.Context(), opts)
	if err != nil {
		return "", int(b.opened.Load()), err
	}
	defer o.Close()
	opened := int(b.opened.Load())
	text := ""
	for _, e := range o.Entries {
		c := *e
		c.Content = nil
		text += fmt.Sprintf("%+v\n", c)
		if e.Content == nil {
			continue
		}
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		text += string(data)
	}
	return text, opened, nil
}

func plenty() *layer.Budget { return image.NewBudget(0, 0) }

// TestFiles: the second time, no layer is opened to know what an image's files are.
func TestFiles(t *testing.T) {
	b, dir := newBase(t), t.TempDir()
	want, _, err := b.files(t, nil, plenty(), tree.OverlayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, times := range []int{len(b.tars), 0, 0} {
		got, opened, err := b.files(t, opened(t, dir, nil), plenty(), tree.OverlayOptions{})
		if err != nil || got != want || opened != times {
			t.Errorf("time %d: layers were opened %d times, the same files: %v, %v", i, opened, got == want, err)
		}
	}
	// The same tars in another image: which is the one below decides.
	b.tars[0], b.tars[1] = b.tars[1], b.tars[0]
	if _, opened, _ := b.files(t, opened(t, dir, nil), plenty(), tree.OverlayOptions{}); opened == 0 {
		t.Error("layers in another order are taken for the same")
	}
}

// TestFilesLimits: the limits refuse the same images with and without what is remembered.
func TestFilesLimits(t *testing.T) {
	b, m := newBase(t), opened(t, t.TempDir(), nil)
	var size int64
	for _, data := range b.tars {
		size += int64(len(data))
	}
	if _, _, err := b.files(t, m, plenty(), tree.OverlayOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		budget *layer.Budget
		opts   tree.OverlayOptions
	}{
		"bytes of the image":    {layer.NewBudget(size-1, 1<<20), tree.OverlayOptions{}},
		"entries of the image":  {layer.NewBudget(1<<30, 3), tree.OverlayOptions{}},
		"bytes of the files":    {plenty(), tree.OverlayOptions{MaxBytes: size - 1}},
		"entries of the files":  {plenty(), tree.OverlayOptions{MaxEntries: 3}},
		"entries and the bytes": {layer.NewBudget(1, 1), tree.OverlayOptions{MaxEntries: 1, MaxBytes: 1}},
	} {
		var limit *tree.LimitError
		if _, _, err := b.files(t, m, c.budget, c.opts); !errors.As(err, &limit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFilesDamaged: whatever happens to what is remembered, the files are the same.
func TestFilesDamaged(t *testing.T) {
	b := newBase(t)
	want, _, err := b.files(t, nil, plenty(), tree.OverlayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{contents, string(Listings), string(Layers)} {
		for what, change := range map[string]func([]byte) []byte{
			"flipped":  func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
			"the last": func(data []byte) []byte { data[len(data)-1] ^= 0x80; return data },
			"cut":      func(data []byte) []byte { return data[:len(data)/2] },
			"empty":    func([]byte) []byte { return nil },
		} {
			t.Run(kind+" "+what, func(t *testing.T) {
				dir := t.TempDir()
				if _, _, err := b.files(t, opened(t, dir, nil), plenty(), tree.OverlayOptions{}); err != nil {
					t.Fatal(err)
				}
				names, err := filepath.Glob(filepath.Join(dir, subdir, kind, "*"))
				if err != nil || len(names) == 0 {
					t.Fatalf("%q, %v", names, err)
				}
				for _, name := range names {
					data, err := os.ReadFile(name)
					if err == nil {
						err = os.WriteFile(name, change(data), 0o600)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				for i := range 3 {
					got, times, err := b.files(t, opened(t, dir, nil), plenty(), tree.OverlayOptions{})
					if err != nil || got != want {
						t.Fatalf("time %d: the same files: %v, %v", i, got == want, err)
					}
					if cold := times > 0; cold != (i == 0) {
						t.Errorf("time %d: layers were opened %d times", i, times)
					}
				}
			})
		}
	}
}

// TestFilesOfDamagedLayers: of a layer that is not what its digest says, no file is read, however
// well the files are remembered.
func TestFilesOfDamagedLayers(t *testing.T) {
	tar, err := layertest.Tar(layertest.File("f", "content"))
	if err != nil {
		t.Fatal(err)
	}
	b, m := &base{tars: [][]byte{tar}}, opened(t, t.TempDir(), nil)
	if _, _, err := b.files(t, m, plenty(), tree.OverlayOptions{}); err != nil {
		t.Fatal(err)
	}
	img := b.open(t, m, plenty())
	copy(tar[bytes.Index(tar, []byte("content")):], "CONTENT")
	o, err := img.Files(t.Context(), tree.OverlayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r, err := tree.Find(o.Entries, "f").Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err == nil {
		t.Errorf("read %q", data)
	}
}

// TestSections: that a part of a file is a layer's tar is kept only if the file was changed long
// ago, and for that part and that tar alone.
func TestSections(t *testing.T) {
	m := opened(t, t.TempDir(), nil)
	id, u := digest.FromString("tar"), layer.Unpacked{Size: 3, Entries: 1}
	old := m.began.Add(-racy).UnixNano()
	for ago, want := range map[time.Duration]bool{-time.Second: false, 0: false, racy - 1: false, racy: true, time.Hour: true} {
		at := tree.Stamp{Inode: 1, Change: m.began.Add(-ago).UnixNano(), ModTime: 5}
		m.KeepUnpacked(v1.Descriptor{Size: 2}, at, id, u)
		if got, ok := m.Unpacked(v1.Descriptor{Size: 2}, at, id); ok != want || ok && got != u {
			t.Errorf("changed %v before: kept: %v, %+v", ago, ok, got)
		}
	}
	known := tree.Stamp{Inode: 1, Change: old, ModTime: 5}
	for what, at := range map[string]tree.Stamp{
		"device": {Device: 1, Inode: 1, Change: old, ModTime: 5}, "inode": {Inode: 2, Change: old, ModTime: 5},
		"change": {Inode: 1, Change: old - 1, ModTime: 5}, "time": {Inode: 1, Change: old, ModTime: 6},
		"offset": {Inode: 1, Change: old, ModTime: 5, Offset: 1}, "none": {},
	} {
		if _, ok := m.Unpacked(v1.Descriptor{Size: 2}, at, id); ok {
			t.Errorf("known with another %s", what)
		}
	}
	for what, ok := range map[string]bool{
		"size":   second(m.Unpacked(v1.Descriptor{Size: 3}, known, id)),
		"digest": second(m.Unpacked(v1.Descriptor{Size: 2, Digest: id}, known, id)),
		"diffID": second(m.Unpacked(v1.Descriptor{Size: 2}, known, digest.FromString("another"))),
	} {
		if ok {
			t.Errorf("known with another %s", what)
		}
	}
}

func second(_ layer.Unpacked, ok bool) bool { return ok }
