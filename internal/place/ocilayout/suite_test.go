package ocilayout_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/imagetest"
	"github.com/varve-image/varve/internal/place/ocilayout"
)

func TestSuite(t *testing.T) {
	for _, algorithm := range []compress.Algorithm{compress.None, compress.Gzip, compress.Zstd} {
		opts := ocilayout.Options{Compression: compress.Compression{Algorithm: algorithm}}
		t.Run(string(algorithm)+" directory", func(t *testing.T) {
			imagetest.Run(t, func(t *testing.T) imagetest.Place { return dirPlace(t, opts) })
		})
		t.Run(string(algorithm)+" archive", func(t *testing.T) {
			imagetest.Run(t, func(t *testing.T) imagetest.Place { return archivePlace(t, opts) })
		})
	}
}

func dirPlace(t *testing.T, opts ocilayout.Options) imagetest.Place {
	path := filepath.Join(t.TempDir(), "layout")
	return imagetest.Place{
		Write: func(ctx context.Context, img *image.Image) error {
			_, err := ocilayout.WriteDir(ctx, img, path, opts)
			return err
		},
		Open:  func(ctx context.Context) (image.Source, error) { return ocilayout.Open(ctx, path, "") },
		Bytes: func(t testing.TB) string { return snapshot(t, path) },
		Damage: func(t testing.TB, stored image.ExistingLayer) {
			path := filepath.Join(path, ocilayout.BlobPath(stored.Stored().Digest))
			data := mustRead(t, path)
			data[len(data)/2] ^= 1
			mustWrite(t, path, data)
		},
	}
}

func archivePlace(t *testing.T, opts ocilayout.Options) imagetest.Place {
	path := filepath.Join(t.TempDir(), "a.tar")
	opts.TempDir = t.TempDir()
	return imagetest.Place{
		Write: func(ctx context.Context, img *image.Image) error {
			var b bytes.Buffer
			if _, err := ocilayout.WriteArchive(ctx, &b, img, opts); err != nil {
				return err
			}
			return os.WriteFile(path, b.Bytes(), 0o644)
		},
		Open:  func(ctx context.Context) (image.Source, error) { return ocilayout.Open(ctx, path, "") },
		Bytes: func(t testing.TB) string { return string(mustRead(t, path)) },
		Damage: func(t testing.TB, stored image.ExistingLayer) {
			r, err := stored.OpenStored(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var blob bytes.Buffer
			if _, err := blob.ReadFrom(r); err != nil {
				t.Fatal(err)
			}
			data := mustRead(t, path)
			data[bytes.LastIndex(data, blob.Bytes())+blob.Len()/2] ^= 1
			mustWrite(t, path, data)
		},
	}
}
