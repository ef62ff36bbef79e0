package dockerarchive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// smallFiles is a layer of many small files, whose contents are counted when they are opened.
func smallFiles(opens *atomic.Int32) *layer.Layer {
	entries := []*tree.Entry{tree.NewDir(".", 0o755)}
	for i := range 300 {
		text := fmt.Sprint(i)
		e := &tree.Entry{Path: fmt.Sprintf("file-%03d", i), Type: tree.Regular, Mode: 0o644, Size: int64(len(text))}
		e.Content = tree.OpenFunc(func() (io.ReadCloser, error) {
			opens.Add(1)
			return io.NopCloser(bytes.NewReader([]byte(text))), nil
		})
		entries = append(entries, e)
	}
	return layer.New(func() tree.Seq { return tree.All(entries) }, layer.Options{Prefix: "./", Title: "small files"})
}

// ofSmallFiles is an image with such a layer.
func ofSmallFiles(opens *atomic.Int32) image.Named {
	return image.Named{Image: image.New(image.Description{
		Architecture: "amd64", OS: "linux", Layers: []image.Layer{smallFiles(opens)}, History: []image.History{{}},
	})}
}

// TestKept: files of a layer that has many small ones are opened once for an archive in a pipe,
// and once more where nothing can be kept. The bytes are the same.
func TestKept(t *testing.T) {
	var opens atomic.Int32
	write := func(tempDir string) (data []byte, opened int) {
		t.Helper()
		opens.Store(0)
		var out bytes.Buffer
		if err := dockerarchive.Write(t.Context(), &out, ofSmallFiles(&opens), dockerarchive.Options{TempDir: tempDir}); err != nil {
			t.Fatal(err)
		}
		return out.Bytes(), int(opens.Load())
	}
	kept, once := write(t.TempDir())
	not, twice := write("/nonexistent")
	if once != 300 || twice != 600 {
		t.Errorf("300 files were opened %d times, and %d times where nothing can be kept", once, twice)
	}
	if !bytes.Equal(kept, not) {
		t.Error("the archives differ")
	}
}

// TestLeavesLayers: an image has the layers that it had, when it was written.
func TestLeavesLayers(t *testing.T) {
	var opens atomic.Int32
	img := ofSmallFiles(&opens)
	before := img.Layers()[0]
	if err := dockerarchive.Write(t.Context(), io.Discard, img, dockerarchive.Options{TempDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if after := img.Layers()[0]; after != before {
		t.Errorf("the layer is a %T now, not the %T that it was", after, before)
	}
}

// TestKeptFails: an error while a layer is hashed or written is reported.
func TestKeptFails(t *testing.T) {
	var opens atomic.Int32
	broken := errors.New("broken")
	img := ofSmallFiles(&opens)
	fails := writerFunc(func([]byte) (int, error) { return 0, broken })
	if err := dockerarchive.Write(t.Context(), fails, img, dockerarchive.Options{TempDir: t.TempDir()}); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if err := dockerarchive.Write(ctx, io.Discard, img, dockerarchive.Options{TempDir: t.TempDir()}); err == nil {
		t.Error("a cancelled archive is no error")
	}
}
