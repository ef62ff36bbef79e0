package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/debstore"
)

// compareFiles measures images of n small files, in a tree and in a store path, with nothing
// remembered and with the digest remembered.
func (b *bench) compareFiles(ctx context.Context, n int) error {
	dir := filepath.Join(b.work, fmt.Sprintf("files-%d", n))
	store := filepath.Join(dir, "store")
	files := filepath.Join(store, strings.Repeat("a", 32)+"-files")
	if err := writeFiles(ctx, files, n); err != nil {
		return err
	}
	graphFile := filepath.Join(dir, "closure.json")
	size := int64(n) << 10
	graph := map[string]any{"closure": []debstore.Path{{Path: files, NarSize: size, References: []string{files}, ClosureSize: size}}}
	spec := filepath.Join(dir, "bench.json")
	if err := errors.Join(writeJSON(graphFile, graph), writeJSON(spec, map[string]any{
		"name": "bench", "tag": "latest", "storeDir": store, "closure": graphFile, "config": map[string]any{"Cmd": []string{files}},
	})); err != nil {
		return err
	}
	// The first run, which does not count, fills the cache of the warm ones.
	cache := filepath.Join(b.work, "cache")
	defer os.RemoveAll(cache)
	c := &closure{spec, []string{files}}
	for _, args := range [][]string{{"stream", "--name", "bench", "--copy", files}, {"stream", spec}} {
		what := "a store path"
		if len(args) > 2 {
			what = "a tree"
		}
		fmt.Printf("files: %d of 1 KB in %s\n", n, what)
		if err := errors.Join(
			b.compare(ctx, c, append(slices.Clone(args), "--no-cache"), []string{"openssl", "sha256"}),
			b.compare(ctx, c, append(slices.Clone(args), "--cache", cache), []string{"cat"}),
		); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles makes the files, unless they are there: a thousand in a directory.
func writeFiles(ctx context.Context, dir string, n int) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made := dir + ".new"
	if err := os.RemoveAll(made); err != nil {
		return err
	}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		in := filepath.Join(made, fmt.Sprintf("dir-%04d", i/1000))
		if err := os.MkdirAll(in, 0o755); err != nil {
			return err
		}
		text := strings.Repeat(fmt.Sprintf("%07d\n", i), 1<<10/8)
		if err := os.WriteFile(filepath.Join(in, fmt.Sprintf("file-%03d.txt", i%1000)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.Rename(made, dir)
}

func writeJSON(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}
