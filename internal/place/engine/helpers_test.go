package engine

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/hybrid"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// repository is the name of the images of tests, without their tags.
const repository = "example.org/varve-daemon"

// testImage returns an image of one file with that content.
func testImage(content string) image.Named {
	l := layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			yield(&tree.Entry{
				Path: "file", Type: tree.Regular, Mode: 0o644, Size: int64(len(content)),
				Content: tree.OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }),
			}, nil)
		}
	}, layer.Options{Title: "file"})
	config := &ordjson.Object{}
	config.Set("Cmd", []any{"/file"})
	img := image.New(image.Description{
		Layers: []image.Layer{l}, History: make([]image.History, 1), Config: config,
		Created: "1970-01-01T00:00:01+00:00", Architecture: "amd64", OS: "linux", ModTime: 1,
	})
	return image.Named{Image: img, Names: image.Names{RepoTags: []string{repository + ":one"}}}
}

// bigImage returns an image of these layers.
func bigImage(name string, layers ...image.Layer) image.Named {
	config := &ordjson.Object{}
	config.Set("Cmd", []any{"/file"})
	img := image.New(image.Description{
		Layers: layers, History: make([]image.History, len(layers)), Config: config,
		Created: "1970-01-01T00:00:01+00:00", Architecture: "amd64", OS: "linux", ModTime: 1,
	})
	return image.Named{Image: img, Names: image.Names{RepoTags: []string{name}}}
}

// archiveOf writes an image as package place does.
func archiveOf(img image.Named) Archive {
	return Archive{
		Write: func(ctx context.Context, w io.Writer, form Form) (digest.Digest, error) {
			return writeAs(ctx, w, img, form, nil)
		},
		Describe: func(ctx context.Context) (Description, error) {
			d, err := ocilayout.Describe(ctx, img, ocilayout.Options{})
			described := Description{Manifest: d.Top.Digest}
			for _, l := range d.Layers {
				described.Layers = append(described.Layers, l.Digest)
			}
			return described, err
		},
	}
}

func writeAs(ctx context.Context, w io.Writer, img image.Named, form Form, observe func(image.Event)) (digest.Digest, error) {
	if form.Nameless {
		img.Names = image.Names{}
	}
	var omit func(digest.Digest) bool
	if form.Omit != nil {
		omit = func(d digest.Digest) bool { return form.Omit(d, d) }
	}
	switch form.Kind {
	case OCI:
		opts := ocilayout.Options{Plain: true, Observe: observe}
		if form.Omit != nil {
			opts.Omit = func(d digest.Digest, blob v1.Descriptor) bool { return form.Omit(d, blob.Digest) }
		}
		return ocilayout.WriteArchive(ctx, w, img, opts)
	case Hybrid:
		written, err := hybrid.Write(ctx, w, []image.Named{img}, hybrid.Options{Omit: omit, Observe: observe})
		if err != nil {
			return "", err
		}
		return written[0].Manifest.Digest, nil
	}
	return "", dockerarchive.Write(ctx, w, img, dockerarchive.Options{Omit: omit, Observe: observe})
}

// writing returns an Archive that does what write does, whatever is asked for.
func writing(img image.Named, write writeFunc) Archive {
	a := archiveOf(img)
	a.Write = func(ctx context.Context, w io.Writer, _ Form) (digest.Digest, error) { return "", write(ctx, w) }
	return a
}

// idOf returns the id of the image that an engine calls name.
func idOf(t testing.TB, e Engine, name string) (digest.Digest, error) {
	t.Helper()
	has, err := e.Identify(t.Context(), name)
	return has.ID, err
}

// toLoad returns an image that is written like that.
func toLoad(write writeFunc) *Image {
	a := writing(testImage("x"), write)
	a.Describe = func(context.Context) (Description, error) {
		return Description{Manifest: digest.FromString("manifest")}, nil
	}
	return &Image{Names: []string{"a:b"}, archive: a}
}

// nothing writes nothing.
func nothing(context.Context, io.Writer) error { return nil }
