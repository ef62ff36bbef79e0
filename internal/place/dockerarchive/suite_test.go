package dockerarchive_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/imagetest"
	"github.com/varve-image/varve/internal/place/dockerarchive"
)

// skopeoTarget is an archive at path, as skopeo writes it.
type skopeoTarget struct{ path, temp string }

func (s skopeoTarget) String() string { return s.path }

func (s skopeoTarget) Write(ctx context.Context, images []image.Named, observe func(image.Event)) ([]image.Written, error) {
	err := atomicfile.Output(s.path)(func(w io.Writer) error {
		return dockerarchive.WriteSkopeo(ctx, w, images[0], dockerarchive.Options{TempDir: s.temp, Observe: observe})
	})
	if err != nil {
		return nil, err
	}
	return dockerarchive.Written(ctx, images)
}

// place is an archive in a file, compressed or not, which is opened or comes
// from a stream.
func place(t *testing.T, c compress.Compression, stream bool) imagetest.Place {
	path, temp := filepath.Join(t.TempDir(), "a.tar"), t.TempDir()
	read := func(t testing.TB) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	p := imagetest.Place{
		Target: &dockerarchive.Target{
			Name: path, Output: atomicfile.Output(path), Compression: c, Options: dockerarchive.Options{TempDir: temp},
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
		Damage: func(t testing.TB, stored image.StoredLayer) {
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
					return place(t, compress.Compression{Algorithm: algorithm}, stream)
				})
			})
		}
	}
	t.Run("as skopeo writes it", func(t *testing.T) {
		imagetest.Run(t, func(t *testing.T) imagetest.Place {
			p := place(t, compress.Compression{Algorithm: compress.None}, false)
			p.Target = skopeoTarget{p.Target.String(), t.TempDir()}
			return p
		})
	})
}

// TestTargetRenames: the target's name replaces the first name of its one image, which keeps the
// others; several images are an error.
func TestTargetRenames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	target := &dockerarchive.Target{
		Name: path, Output: atomicfile.Output(path), RepoTag: "other:2", Compression: compress.Compression{Algorithm: compress.None},
	}
	img := imagetest.Images(t)[0].Image
	img.RepoTags = []string{"app:1", "more:1"}
	written, err := target.Write(t.Context(), []image.Named{img}, nil)
	if err != nil || len(written) != 1 || !slices.Equal(written[0].Names, []string{"other:2", "more:1"}) {
		t.Fatalf("%+v, %v", written, err)
	}
	if id, err := image.ID(t.Context(), img); err != nil || written[0].ID != id {
		t.Errorf("it is written as %s, %v, and is %s", written[0].ID, err, id)
	}
	if !slices.Equal(img.RepoTags, []string{"app:1", "more:1"}) {
		t.Errorf("the image itself is called %q", img.RepoTags)
	}
	a, err := dockerarchive.Open(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if list := a.List(); len(list) != 1 || !slices.Equal(list[0].Names, written[0].Names) {
		t.Errorf("there are %+v", list)
	}
	if written, err := target.Write(t.Context(), []image.Named{img, img}, nil); err == nil {
		t.Errorf("two images of one name: %+v", written)
	}
}

// TestTargetObserves: layers are counted across several images, one without layers included.
func TestTargetObserves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	target := &dockerarchive.Target{Name: path, Output: atomicfile.Output(path), Compression: compress.Compression{Algorithm: compress.None}}
	var images []image.Named
	for i, name := range []string{"no layers", "one layer", "no layers", "several layers", "no layers"} {
		for _, c := range imagetest.Images(t) {
			if c.Name == name {
				c.Image.RepoTags = []string{fmt.Sprintf("app:%d", i)}
				images = append(images, c.Image)
			}
		}
	}
	var told []int
	written, err := target.Write(t.Context(), images, func(e image.Event) {
		if e.Layers != 4 {
			t.Errorf("event %+v, want one of 4 layers", e)
		}
		if e.Done {
			told = append(told, e.Layer)
		}
	})
	if err != nil || len(written) != len(images) || !slices.Equal(told, []int{1, 2, 3, 4}) {
		t.Errorf("%d images, layers %v, %v", len(written), told, err)
	}
}
