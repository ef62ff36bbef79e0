package layer_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// manyFiles makes a tree of n files of 0 to 2 KiB, a hundred in a directory.
func manyFiles(b testing.TB, n int) string {
	b.Helper()
	root := b.TempDir()
	data := make([]byte, 2048)
	for i := range n {
		dir := filepath.Join(root, fmt.Sprintf("share/part-%02d/dir-%03d", i/1000, i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%05d.txt", i)), data[:i%len(data)], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return root
}

// fewFiles makes a tree of n files of 64 MiB.
func fewFiles(b testing.TB, n int) string {
	b.Helper()
	root := b.TempDir()
	data := make([]byte, 64<<20)
	for i := range n {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("large-%d", i)), data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return root
}

func dirLayer(root string, opts layer.Options) *layer.Layer {
	return layer.New(func() tree.Seq { return tree.FromDir(root, tree.DirOptions{}) }, opts)
}

// trees are the trees that the benchmarks read.
var trees = []struct {
	name  string
	files int
	make  func(testing.TB, int) string
}{
	{"small", 20_000, manyFiles},
	{"large", 4, fewFiles},
}

// BenchmarkInfo hashes a layer: what a first build does.
func BenchmarkInfo(b *testing.B) {
	for _, tr := range trees {
		b.Run(tr.name, func(b *testing.B) {
			root := tr.make(b, tr.files)
			benchmark(b, tr.files, func() int64 {
				info, err := dirLayer(root, layer.Options{}).Info(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				return info.Size
			})
		})
	}
}

// BenchmarkHeaders hashes a layer of empty files that are not on disk.
func BenchmarkHeaders(b *testing.B) {
	entries := make([]*tree.Entry, 100_000)
	for i := range entries {
		entries[i] = &tree.Entry{Path: fmt.Sprintf("usr/share/part-%03d/directory/file-%06d.txt", i/1000, i), Type: tree.Regular, Mode: 0o644}
	}
	all := func() tree.Seq { return tree.All(entries) }
	benchmark(b, len(entries), func() int64 {
		info, err := layer.New(all, layer.Options{Prefix: "./", Dialect: layer.GNU}).Info(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		return info.Size
	})
}

// BenchmarkWrite writes a layer whose digest is known into a pipe that is
// emptied as fast as possible.
func BenchmarkWrite(b *testing.B) {
	for _, tr := range trees {
		for name, immutable := range map[string]bool{"store": true, "tree": false} {
			b.Run(tr.name+"/"+name, func(b *testing.B) {
				l := dirLayer(tr.make(b, tr.files), layer.Options{Immutable: immutable})
				info, err := l.Info(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				pipe := drain(b)
				benchmark(b, tr.files, func() int64 {
					if err := l.Write(context.Background(), pipe); err != nil {
						b.Fatal(err)
					}
					return info.Size
				})
			})
		}
	}
}

// drain returns the writing end of a pipe that is read until b ends.
func drain(b *testing.B) *os.File {
	b.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Close()
		buf := make([]byte, 1<<20)
		for {
			if _, err := r.Read(buf); err == io.EOF || err != nil {
				return
			}
		}
	}()
	b.Cleanup(func() { w.Close(); <-done })
	return w
}

// benchmark times f, which returns how many bytes it has handled.
func benchmark(b *testing.B, files int, f func() int64) {
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(f())
	}
	b.ReportMetric(float64(files*b.N)/b.Elapsed().Seconds(), "files/s")
}
