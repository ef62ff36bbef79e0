package dockerarchive_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/imagetest"
	"github.com/varve-image/varve/internal/place/dockerarchive"
)

type writeFunc func(ctx context.Context, w io.Writer, img *image.Image, opts dockerarchive.Options) error

// place is an archive in a file, compressed or not, which is opened or comes
// from a stream.
func place(t *testing.T, write writeFunc, c compress.Compression, stream bool) imagetest.Place {
	path, temp := filepath.Join(t.TempDir(), "a.tar"), t.TempDir()
	read := func(t testing.TB) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	p := imagetest.Place{
		Write: func(ctx context.Context, img *image.Image) error {
			var b bytes.Buffer
			w, err := c.NewWriter(&b)
			if err != nil {
				return err
			}
			if err := write(ctx, w, img, dockerarchive.Options{TempDir: temp}); err != nil {
				w.Close()
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
			return os.WriteFile(path, b.Bytes(), 0o644)
		},
		Open: func(ctx context.Context) (image.Source, error) {
			if !stream {
				return dockerarchive.Open(ctx, path, temp)
			}
			f, err := os.Open(path)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			return dockerarchive.Read(ctx, "standard input", f, temp)
		},
		Bytes: func(t testing.TB) string { return string(read(t)) },
		Damage: func(t testing.TB, stored image.ExistingLayer) {
			var tar bytes.Buffer
			if err := stored.Write(context.Background(), &tar); err != nil {
				t.Fatal(err)
			}
			data := read(t)
			data[bytes.LastIndex(data, tar.Bytes())+tar.Len()/2] ^= 1
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	}
	if stream || c.Algorithm != compress.None { // what is read is a copy
		p.Damage = nil
	}
	return p
}

func TestSuite(t *testing.T) {
	for _, algorithm := range []compress.Algorithm{compress.None, compress.Gzip, compress.Zstd} {
		for from, stream := range map[string]bool{"file": false, "stream": true} {
			t.Run(string(algorithm)+" "+from, func(t *testing.T) {
				imagetest.Run(t, func(t *testing.T) imagetest.Place {
					return place(t, dockerarchive.Write, compress.Compression{Algorithm: algorithm}, stream)
				})
			})
		}
	}
	t.Run("as skopeo writes it", func(t *testing.T) {
		imagetest.Run(t, func(t *testing.T) imagetest.Place {
			return place(t, dockerarchive.WriteSkopeo, compress.Compression{Algorithm: compress.None}, false)
		})
	})
}
