package hybrid_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/imagetest"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/hybrid"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/tarindex"
)

// read opens an archive by what a half has, or by both.
type read func(ctx context.Context, name string, t *tarindex.Archive) (image.Source, error)

func openOCI(ctx context.Context, name string, t *tarindex.Archive) (image.Source, error) {
	return ocilayout.FromTar(ctx, name, t)
}

func openDocker(_ context.Context, name string, t *tarindex.Archive) (image.Source, error) {
	return dockerarchive.FromTar(name, t)
}

// stream hides that a writer is a file.
type stream struct{ io.Writer }

// place is an archive in a file, which may be written as a stream.
func place(t *testing.T, streamed bool, open read) imagetest.Place {
	path, temp := filepath.Join(t.TempDir(), "a.tar"), t.TempDir()
	data := func(t testing.TB) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	out := atomicfile.Output(path)
	if streamed {
		out = func(fill func(io.Writer) error) error {
			return atomicfile.Output(path)(func(w io.Writer) error { return fill(stream{w}) })
		}
	}
	return imagetest.Place{
		Target: &hybrid.Target{Name: path, Output: out, Options: hybrid.Options{TempDir: temp}},
		Open: func(ctx context.Context) (image.Source, error) {
			tar, err := tarindex.Open(ctx, path, tarindex.Options{TempDir: temp})
			if err != nil {
				return nil, err
			}
			src, err := open(ctx, path, tar)
			if err != nil {
				tar.Close()
			}
			return src, err
		},
		Bytes: func(t testing.TB) string { return string(data(t)) },
		Damage: func(t testing.TB, stored image.StoredLayer) {
			var tar bytes.Buffer
			if err := stored.Write(context.Background(), &tar); err != nil {
				t.Fatal(err)
			}
			data := data(t)
			data[bytes.LastIndex(data, tar.Bytes())+tar.Len()/2] ^= 1
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// TestSuite: what is written is read by both halves and by each of them.
func TestSuite(t *testing.T) {
	for half, open := range map[string]read{"both": hybrid.Open, "docker-archive": openDocker, "OCI layout": openOCI} {
		for how, streamed := range map[string]bool{"file": false, "stream": true} {
			t.Run(half+" "+how, func(t *testing.T) {
				imagetest.Run(t, func(t *testing.T) imagetest.Place { return place(t, streamed, open) })
			})
		}
	}
}

// TestStream: a stream has the bytes that a file has.
func TestStream(t *testing.T) {
	for _, c := range imagetest.Images(t) {
		file, streamed := place(t, false, hybrid.Open), place(t, true, hybrid.Open)
		for _, p := range []imagetest.Place{file, streamed} {
			if _, err := p.Target.Write(t.Context(), []image.Named{c.Image}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if file.Bytes(t) != streamed.Bytes(t) {
			t.Errorf("%s: other bytes", c.Name)
		}
	}
}

// TestTargetRenames: the target's name replaces the first name of its one image, which keeps the
// others; several images are an error.
func TestTargetRenames(t *testing.T) {
	p := place(t, false, hybrid.Open)
	target := p.Target.(*hybrid.Target)
	target.RepoTag = "other:2"
	img := imagetest.Images(t)[0].Image
	img.RepoTags, img.RefNames = []string{"app:1", "more:1"}, []string{"stable"}
	written, err := target.Write(t.Context(), []image.Named{img}, nil)
	if err != nil || len(written) != 1 || !slices.Equal(written[0].Names, []string{"other:2", "more:1"}) || written[0].Manifest.Digest == "" {
		t.Fatalf("%+v, %v", written, err)
	}
	src, err := p.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if list := src.List(); len(list) != 1 || !slices.Equal(list[0].Names, written[0].Names) || list[0].Descriptor.Digest != written[0].Manifest.Digest {
		t.Errorf("there are %+v", list)
	}
	if !slices.Equal(img.RepoTags, []string{"app:1", "more:1"}) {
		t.Errorf("the image itself is called %q", img.RepoTags)
	}
	if written, err := target.Write(t.Context(), []image.Named{img, img}, nil); err == nil {
		t.Errorf("two images of one name: %+v", written)
	}
	if written, err := target.Write(t.Context(), nil, nil); err == nil {
		t.Errorf("no images: %+v", written)
	}
	if written, err := target.WriteIndex(t.Context(), &image.Index{}, nil); err == nil {
		t.Errorf("an index of no images: %+v", written)
	}
}
