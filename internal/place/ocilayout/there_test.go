package ocilayout_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// verified is a memo that knows of every blob what it unpacks to, or of none.
type verified bool

func (v verified) Unpacked(v1.Descriptor, tree.Stamp, digest.Digest) (layer.Unpacked, bool) {
	return layer.Unpacked{Size: 1024, Entries: 1}, bool(v)
}

func (verified) KeepUnpacked(v1.Descriptor, tree.Stamp, digest.Digest, layer.Unpacked) {}

// TestLayersThatAreThere: a stored layer that the layout has is not read, if it was verified once
// and nobody else can change what the layout has.
func TestLayersThatAreThere(t *testing.T) {
	data := make([]byte, 1024) // a tar of nothing
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayerZstd, Digest: digest.FromBytes(data), Size: int64(len(data))}
	reads := 0
	write := func(t *testing.T, dir string, known verified, diffID digest.Digest) error {
		t.Helper()
		reads = 0
		b := &layer.Blob{Name: "base", Descriptor: d, DiffID: diffID, Fetch: func(context.Context) (io.ReadCloser, error) {
			reads++
			return io.NopCloser(bytes.NewReader(data)), nil
		}}
		b.Remember(known)
		img := image.Named{Image: image.New(describe("x", b)), Names: image.Names{RepoTags: []string{"test:x"}}}
		_, err := ocilayout.WriteDir(t.Context(), img, dir, ocilayout.Options{})
		return err
	}
	for name, c := range map[string]struct {
		known  verified
		change func(blob string) error
		want   int
	}{
		"verified":         {true, nil, 0},
		"not verified":     {false, nil, 1},
		"damaged":          {true, func(blob string) error { return os.WriteFile(blob, append([]byte{1}, data[1:]...), 0o644) }, 1},
		"cut short":        {true, func(blob string) error { return os.Truncate(blob, 10) }, 1},
		"missing":          {true, os.Remove, 1},
		"a link":           {true, func(blob string) error { return errors.Join(os.Rename(blob, blob+"x"), os.Symlink(blob+"x", blob)) }, 1},
		"of another user":  {true, func(blob string) error { return os.Chown(blob, 54321, 54321) }, 1},
		"of another group": {true, func(blob string) error { return os.Chown(blob, -1, 54321) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "of another user" || name == "of another group" {
				testtools.NeedRoot(t)
			}
			dir := filepath.Join(t.TempDir(), "layout")
			if err := write(t, dir, c.known, d.Digest); err != nil || reads != 1 {
				t.Fatalf("read %d times, %v", reads, err)
			}
			index, err := os.ReadFile(filepath.Join(dir, "index.json"))
			if err != nil {
				t.Fatal(err)
			}
			blob := filepath.Join(dir, "blobs", "sha256", d.Digest.Encoded())
			if c.change != nil {
				if err := c.change(blob); err != nil {
					t.Fatal(err)
				}
			}
			if err := write(t, dir, c.known, d.Digest); err != nil || reads != c.want {
				t.Errorf("read %d times, %v; want %d", reads, err, c.want)
			}
			again, err := os.ReadFile(filepath.Join(dir, "index.json"))
			if err != nil || !bytes.Equal(again, index) {
				t.Errorf("another index, %v", err)
			}
			if got, err := os.ReadFile(blob); err != nil || !bytes.Equal(got, data) {
				t.Errorf("the blob is not what it was, %v", err)
			}
		})
	}
	// A config that says of a layer what is not true is refused, if the layout has the layer too.
	dir := filepath.Join(t.TempDir(), "layout")
	if err := write(t, dir, false, d.Digest); err != nil {
		t.Fatal(err)
	}
	var mismatch *layer.DigestError
	if err := write(t, dir, false, digest.FromString("another")); !errors.As(err, &mismatch) {
		t.Errorf("a wrong config: %v", err)
	}
}
