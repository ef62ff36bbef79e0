package ocilayout

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/imagetest"
)

// TestOmit: what is described is what is written, whatever is left out.
func TestOmit(t *testing.T) {
	for _, c := range imagetest.Images(t) {
		t.Run(c.Name, func(t *testing.T) {
			d, err := Describe(t.Context(), c.Image, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range d.Layers[:min(1, len(d.Layers))] {
				omit := func(_ digest.Digest, blob v1.Descriptor) bool { return blob.Digest == l.Digest }
				var whole, gaps bytes.Buffer
				for out, opts := range map[*bytes.Buffer]Options{&whole: {Plain: true}, &gaps: {Plain: true, Omit: omit}} {
					if got, err := WriteArchive(t.Context(), out, c.Image, opts); err != nil || got != d.Top.Digest {
						t.Errorf("manifest %s, %v; described is %s", got, err, d.Top.Digest)
					}
				}
				want := slices.DeleteFunc(members(t, &whole), func(name string) bool { return path.Base(name) == l.Digest.Encoded() })
				if got := members(t, &gaps); !slices.Equal(got, want) {
					t.Errorf("members %q, want %q", got, want)
				}
			}
		})
	}
}

// members returns the names of an archive's members.
func members(t *testing.T, r io.Reader) (names []string) {
	t.Helper()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}
