package ocilayout_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
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
		t.Run(string(algorithm)+" image directory", func(t *testing.T) {
			imagetest.Run(t, func(t *testing.T) imagetest.Place { return imageDirPlace(t, opts) })
		})
	}
}

func dirPlace(t *testing.T, opts ocilayout.Options) imagetest.Place {
	path := filepath.Join(t.TempDir(), "layout")
	return imagetest.Place{
		Target: ocilayout.NewDir(path, opts),
		Open:   func(ctx context.Context) (image.Source, error) { return ocilayout.Open(ctx, path, "") },
		Bytes:  func(t testing.TB) string { return snapshot(t, path) },
		Damage: func(t testing.TB, stored image.StoredLayer) {
			damage(t, filepath.Join(path, ocilayout.BlobPath(stored.Stored().Digest)))
		},
	}
}

// imageDirPlace is a directory of containers-image, which has no names of images.
func imageDirPlace(t *testing.T, opts ocilayout.Options) imagetest.Place {
	path := filepath.Join(t.TempDir(), "dir")
	return imagetest.Place{
		Target: ocilayout.NewImageDir(path, opts),
		Open: func(ctx context.Context) (image.Source, error) {
			d, err := ocilayout.OpenImageDir(ctx, path)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
		Name:  "@0",
		Bytes: func(t testing.TB) string { return snapshot(t, path) },
		Damage: func(t testing.TB, stored image.StoredLayer) {
			damage(t, filepath.Join(path, stored.Stored().Digest.Encoded()))
		},
	}
}

// damage changes a byte of a file.
func damage(t testing.TB, path string) {
	t.Helper()
	data := mustRead(t, path)
	data[len(data)/2] ^= 1
	mustWrite(t, path, data)
}

func archivePlace(t *testing.T, opts ocilayout.Options) imagetest.Place {
	path := filepath.Join(t.TempDir(), "a.tar")
	opts.TempDir = t.TempDir()
	return imagetest.Place{
		Target: ocilayout.NewArchive(path, atomicfile.Output(path), opts),
		Open:   func(ctx context.Context) (image.Source, error) { return ocilayout.Open(ctx, path, "") },
		Bytes:  func(t testing.TB) string { return string(mustRead(t, path)) },
		Damage: func(t testing.TB, stored image.StoredLayer) {
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
