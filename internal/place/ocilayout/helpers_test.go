package ocilayout_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// file is an entry with content.
func file(path, content string) *tree.Entry {
	return &tree.Entry{
		Path: path, Type: tree.Regular, Mode: 0o644, ModTime: 1, Size: int64(len(content)),
		Content: tree.OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }),
	}
}

func dir(path string) *tree.Entry {
	return &tree.Entry{Path: path, Type: tree.Dir, Mode: 0o755, ModTime: 1}
}

func newLayer(entries ...*tree.Entry) image.Layer {
	seq := tree.All(entries)
	return layer.New(func() tree.Seq { return seq }, layer.Options{Dialect: layer.GNU, Prefix: "./", Title: entries[len(entries)-1].Path})
}

// bigLayer has n bytes that do not compress.
func bigLayer(name string, n int) image.Layer {
	content := make([]byte, n)
	state := uint32(len(name) + 1)
	for i := range content {
		state = state*1664525 + 1013904223
		content[i] = byte(state >> 24)
	}
	return newLayer(file(name, string(content)))
}

// newImage returns an image of a few layers, one of them twice.
func newImage(tag string, layers ...image.Layer) image.Named {
	return image.Named{Image: image.New(describe(tag, layers...)), Names: image.Names{RepoTags: []string{"test:" + tag}}}
}

// describe describes an image as newImage makes it.
func describe(tag string, layers ...image.Layer) image.Description {
	if layers == nil {
		base := newLayer(dir("."), dir("etc"), file("etc/motd", "hello from "+tag+"\n"))
		layers = []image.Layer{base, newLayer(dir("."), dir("bin"), file("bin/tool", strings.Repeat("tool", 1000))), base}
	}
	d := image.Description{
		Layers: layers, History: make([]image.History, len(layers)),
		Created: "1970-01-01T00:00:01Z", Architecture: "amd64", OS: "linux",
		Config:      &ordjson.Object{Members: []ordjson.Member{{Key: "Cmd", Value: []any{"/bin/tool"}}}},
		ModTime:     1,
		Annotations: map[string]string{"org.opencontainers.image.title": "a test", "b": "2", "a": "1"},
	}
	for i := range d.History {
		d.History[i] = image.History{Created: d.Created, CreatedBy: "varve"}
	}
	return d
}

// wrapped changes a layer's methods.
type wrapped struct {
	image.Layer
	write func(ctx context.Context, w io.Writer) error
	info  func(layer.Info) layer.Info
}

func (l wrapped) Write(ctx context.Context, w io.Writer) error {
	if l.write != nil {
		return l.write(ctx, w)
	}
	return l.Layer.Write(ctx, w)
}

func (l wrapped) Info(ctx context.Context) (layer.Info, error) {
	info, err := l.Layer.Info(ctx)
	if l.info != nil {
		info = l.info(info)
	}
	return info, err
}

// snapshot returns what a directory tree holds, one line for each file.
func snapshot(t testing.TB, root string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s %s", rel, info.Mode().Type())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %x", sha256.Sum256(data))
		}
		out.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// steady checks at its end that the test left no goroutine and no open file.
func steady(t *testing.T) {
	t.Helper()
	if r, w, err := os.Pipe(); err == nil { // the runtime keeps what it opens for the first one
		r.Close()
		w.Close()
	}
	goroutines, files := runtime.NumGoroutine(), openFiles()
	t.Cleanup(func() {
		for range 200 {
			if runtime.NumGoroutine() <= goroutines && openFiles() <= files {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before; %d open files, %d before:\n%s",
			runtime.NumGoroutine(), goroutines, openFiles(), files, buf[:runtime.Stack(buf, true)])
	})
}

// openFiles returns how many files the process has open, or 0 if that is
// unknown.
func openFiles() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustWrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func tarOf(t testing.TB, l image.Layer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := l.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
