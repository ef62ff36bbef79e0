package hybrid_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/hostile"
	"github.com/varve-image/varve/internal/place/hybrid"
	"github.com/varve-image/varve/internal/tarindex"
	"github.com/varve-image/varve/layer"
)

// openBytes opens an archive.
func openBytes(ctx context.Context, data []byte, temp string) (image.Source, error) {
	tar, err := tarindex.Read(ctx, bytes.NewReader(data), tarindex.Options{TempDir: temp})
	if err != nil {
		return nil, err
	}
	src, err := hybrid.Open(ctx, "a", tar)
	if err != nil {
		tar.Close()
	}
	return src, err
}

// readFirst returns the layers of the first image of an archive.
func readFirst(ctx context.Context, data []byte, temp string) (layers []string, err error) {
	src, err := openBytes(ctx, data, temp)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	img, err := src.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	for _, l := range img.Layers() {
		var b bytes.Buffer
		if err := l.Write(ctx, &b); err != nil {
			return nil, err
		}
		layers = append(layers, b.String())
	}
	return layers, nil
}

// TestHostile: halves that contradict each other are refused, and what one of them lacks is taken
// from the other.
func TestHostile(t *testing.T) {
	for _, c := range hostile.HybridCases() {
		t.Run(c.Name, func(t *testing.T) {
			layers, err := readFirst(t.Context(), c.Data, t.TempDir())
			for _, text := range c.Refused {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("error %v, want %q in it", err, text)
				}
			}
			var mismatch *layer.DigestError
			if got := errors.As(err, &mismatch); got != c.Mismatch {
				t.Errorf("a digest error: %v, want %v (%v)", got, c.Mismatch, err)
			}
			if c.Refused != nil {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range hostile.Image() {
				if layers[i] != string(want) {
					t.Errorf("layer %d differs", i)
				}
			}
		})
	}
}

// FuzzOpen: whatever the bytes, images that can be read have the layers that their configs list,
// and are the same after they are written again.
func FuzzOpen(f *testing.F) {
	for _, c := range hostile.HybridCases() {
		if len(c.Data) <= 32<<10 {
			f.Add(c.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if compress.Detect(data[:min(4, len(data))]) == compress.None {
			data = hostile.Sums(data)
		}
		src, err := openBytes(t.Context(), data, t.TempDir())
		if err != nil {
			return
		}
		defer src.Close()
		for i := range src.List() {
			img, err := src.Open(t.Context(), i)
			if err != nil {
				continue
			}
			for k, l := range img.StoredLayers() {
				var b bytes.Buffer
				if err := l.Write(t.Context(), &b); err == nil && digest.FromBytes(b.Bytes()) != img.DiffIDs[k] {
					t.Errorf("layer %d of image %d is not %s", k, i, img.DiffIDs[k])
				}
			}
			var out bytes.Buffer
			if _, err := hybrid.Write(t.Context(), &out, []image.Named{{Image: img}}, hybrid.Options{}); err != nil {
				continue
			}
			if again, err := readFirst(t.Context(), out.Bytes(), t.TempDir()); err != nil || len(again) != len(img.DiffIDs) {
				t.Errorf("image %d, written and read again: %d layers, %v", i, len(again), err)
			}
		}
	})
}
