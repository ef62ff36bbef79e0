package imagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
)

// checkImage compares the stored description of an image with the image.
func checkImage(t *testing.T, stored *image.Stored, img image.Named) {
	t.Helper()
	config, err := img.RawConfig(t.Context())
	must(t, err)
	if !bytes.Equal(stored.ConfigJSON, config) {
		t.Errorf("config\n%s\nwant\n%s", stored.ConfigJSON, config)
	}
	if v, _ := stored.Config.String("os"); v != "linux" {
		t.Errorf("the config is for %q", v)
	}
	if len(stored.Layers()) != len(img.Layers()) || len(stored.DiffIDs) != len(img.Layers()) {
		t.Fatalf("%d layers and %d diff_ids, want %d", len(stored.Layers()), len(stored.DiffIDs), len(img.Layers()))
	}
	if d := stored.ManifestDescriptor; d.Digest != "" && (digest.FromBytes(stored.Manifest) != d.Digest || int64(len(stored.Manifest)) != d.Size) {
		t.Errorf("manifest of %d bytes, %s, is said to be %+v", len(stored.Manifest), digest.FromBytes(stored.Manifest), d)
	}
}

// checkLayers reads each layer in every way, several at once, and twice.
func checkLayers(t *testing.T, stored *image.Stored, img image.Named) {
	t.Helper()
	var group sync.WaitGroup
	for i, l := range stored.StoredLayers() {
		for range 2 {
			group.Go(func() { checkLayer(t, i, l, img.Layers()[i], stored.DiffIDs[i]) })
		}
	}
	group.Wait()
}

func checkLayer(t *testing.T, i int, l image.StoredLayer, want image.Layer, id digest.Digest) {
	var tar, got bytes.Buffer
	info, err := want.Info(context.Background())
	if err == nil {
		err = want.Write(context.Background(), &tar)
	}
	if err != nil {
		t.Errorf("layer %d: %v", i, err)
		return
	}
	if err := l.Write(t.Context(), &got); err != nil || !bytes.Equal(got.Bytes(), tar.Bytes()) {
		t.Errorf("layer %d: Write: %d bytes, want %d; %v", i, got.Len(), tar.Len(), err)
	}
	if data, err := readAll(l.Open(t.Context())); err != nil || !bytes.Equal(data, tar.Bytes()) {
		t.Errorf("layer %d: Open: %d bytes, want %d; %v", i, len(data), tar.Len(), err)
	}
	if is, err := l.Info(t.Context()); err != nil || is != info || id != info.DiffID || l.TarDigest() != info.DiffID || l.Title() == "" {
		t.Errorf("layer %d: Info %+v, digest %s, title %q, %v; want %+v", i, is, l.TarDigest(), l.Title(), err, info)
	}
	data, err := readAll(l.OpenStored(t.Context()))
	if d := l.Stored(); err != nil || d.Digest != "" && (digest.FromBytes(data) != d.Digest || int64(len(data)) != d.Size) {
		t.Errorf("layer %d: OpenStored: %d bytes, said to be %+v, %v", i, len(data), d, err)
	}
	r, err := l.Open(t.Context())
	if err == nil {
		_, err = io.ReadFull(r, make([]byte, 1))
		err = errors.Join(err, r.Close()) // closed before its end
	}
	if err != nil {
		t.Errorf("layer %d: closed early: %v", i, err)
	}
}

func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

// discard is io.Discard without a buffer of its own.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// steady fails at the test's end if there are more goroutines or open files than
// now. What the test makes from now on has to be closed by then.
func steady(t *testing.T) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles()
	t.Cleanup(func() {
		for range 200 {
			if runtime.NumGoroutine() <= goroutines && openFiles() <= files {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%d goroutines, %d before; %d open files, %d before", runtime.NumGoroutine(), goroutines, openFiles(), files)
	})
}

// openFiles returns how many files the process has open, 0 if that cannot be determined.
func openFiles() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
