package imagetest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// Case is an image of the suite.
type Case struct {
	Name  string
	Image image.Named
}

// Images returns the images of the suite.
func Images(t testing.TB) []Case {
	base := newLayer(dir("etc"), file("etc/motd", "hello\n"))
	tool := newLayer(dir("bin"), file("bin/tool", strings.Repeat("tool", 10_000)))
	large := newLayer(file("large", noise(3<<20)))
	odd := newImage(base, tool)
	odd.Image = withConfig{odd.Image, oddConfig(t, base, tool)}
	return []Case{
		{"one layer", newImage(base)},
		{"several layers", newImage(base, tool, large)},
		{"repeated layers", newImage(base, tool, base, base)},
		{"an empty layer", newImage(base, newLayer())},
		{"no layers", newImage()},
		{"another's config", odd},
	}
}

// withConfig is an image with another config.
type withConfig struct {
	image.Image
	config []byte
}

func (w withConfig) RawConfig(context.Context) ([]byte, error) { return w.config, nil }

func newImage(layers ...image.Layer) image.Named {
	img := image.New(image.Description{
		Layers: layers, History: make([]image.History, len(layers)),
		Created: "1970-01-01T00:00:01Z", Architecture: "amd64", OS: "linux",
		Config:  &ordjson.Object{Members: []ordjson.Member{{Key: "Cmd", Value: []any{"/bin/tool", "<é>"}}}},
		ModTime: 1,
	})
	return image.Named{Image: img, Names: image.Names{RepoTags: []string{"example.org/varve-suite/app:1"}}}
}

func newLayer(entries ...*tree.Entry) image.Layer {
	entries = append([]*tree.Entry{dir(".")}, entries...)
	seq := tree.All(entries)
	return layer.New(func() tree.Seq { return seq }, layer.Options{Dialect: layer.GNU, Prefix: "./", Title: entries[len(entries)-1].Path})
}

func dir(name string) *tree.Entry {
	e := tree.NewDir(name, 0o755)
	e.ModTime = 1
	return e
}

func file(name, content string) *tree.Entry {
	e := tree.NewFile(name, 0o644, content)
	e.ModTime = 1
	return e
}

// noise returns n bytes that do not compress.
func noise(n int) string {
	b := make([]byte, n)
	state := uint64(1)
	for i := range b {
		state = state*6364136223846793005 + 1442695040888963407
		b[i] = byte(state >> 56)
	}
	return string(b)
}

// oddConfig returns a config whose layout and fields differ from varve's own.
func oddConfig(t testing.TB, layers ...image.Layer) []byte {
	t.Helper()
	var ids []string
	for _, l := range layers {
		info, err := l.Info(context.Background())
		must(t, err)
		ids = append(ids, fmt.Sprintf("%q", info.DiffID))
	}
	return fmt.Appendf(nil, "{ \"os\":\"linux\",\n\t\"architecture\": \"amd64\", \"docker_version\": \"20.10\",\n"+
		` "config": {"Env": [ "A=<é&>" ], "b": 1.50 }, "created": "2020-01-02T03:04:05.678Z",`+"\n"+
		` "history": [{"created_by": "x"}, {"empty_layer": true}, {}], "rootfs": {"type": "layers", "diff_ids": [%s]}}`+"\n", strings.Join(ids, ", "))
}
