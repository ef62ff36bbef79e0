package layer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/layer"
)

// TestBlobDamaged: a blob that was changed has another digest, wherever the
// change is, and the error says that, not what unpacking makes of it.
func TestBlobDamaged(t *testing.T) {
	plain := []byte(strings.Repeat("what the layer holds ", 10_000))
	for _, algorithm := range []compress.Algorithm{compress.None, compress.Gzip, compress.Zstd} {
		var packed bytes.Buffer
		z, err := compress.Compression{Algorithm: algorithm}.NewWriter(t.Context(), &packed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		stored := packed.Bytes()
		for _, at := range []int{0, 2, 3, 5, len(stored) / 2, len(stored) - 6, len(stored) - 1} {
			damaged := bytes.Clone(stored)
			damaged[at] ^= 0x10
			b := &layer.Blob{
				Name: "blob", DiffID: digest.FromBytes(plain),
				Descriptor: v1.Descriptor{Digest: digest.FromBytes(stored), Size: int64(len(stored))},
				Fetch: func(context.Context) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(damaged)), nil
				},
			}
			_, err := b.Info(t.Context())
			var mismatch *layer.DigestError
			if !errors.As(err, &mismatch) {
				t.Errorf("%s, byte %d of %d: %v, want a digest that differs", algorithm, at, len(stored), err)
			}
		}
	}
}
