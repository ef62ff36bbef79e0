package engine

import (
	"context"
	"io"
	"strings"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/place/dockerarchive"
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

func archiveOf(img image.Named) WriteFunc {
	return func(ctx context.Context, w io.Writer) error {
		return dockerarchive.Write(ctx, w, img, dockerarchive.Options{})
	}
}
