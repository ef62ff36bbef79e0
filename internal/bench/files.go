package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/varve-image/varve/internal/debstore"
)

// manyFiles is how many files of 1 KB compareFiles measures.
const manyFiles = 100_000

// compareFiles measures images of many small files, in a tree and in a store path.
func (b *bench) compareFiles(ctx context.Context) error {
	store := filepath.Join(b.work, "files", "store")
	files := filepath.Join(store, strings.Repeat("a", 32)+"-files")
	if err := writeFiles(ctx, files); err != nil {
		return err
	}
	graphFile := filepath.Join(b.work, "files", "closure.json")
	graph := map[string]any{"closure": []debstore.Path{{Path: files, NarSize: manyFiles << 10, References: []string{files}, ClosureSize: manyFiles << 10}}}
	spec := filepath.Join(b.work, "files", "bench.json")
	if err := errors.Join(writeJSON(graphFile, graph), writeJSON(spec, map[string]any{
		"name": "bench", "tag": "latest", "storeDir": store, "closure": graphFile, "config": map[string]any{"Cmd": []string{files}},
	})); err != nil {
		return err
	}
	fmt.Printf("files: %d of 1 KB, in a tree and in a store path\n", manyFiles)
	c := &closure{spec, []string{files}}
	for _, args := range [][]string{{"stream", "--name", "bench", "--copy", files}, {"stream", spec}} {
		if err := b.compare(ctx, c, args, []string{"openssl", "sha256"}); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles makes the files, unless they are there: a thousand in a directory.
func writeFiles(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made := dir + ".new"
	if err := os.RemoveAll(made); err != nil {
		return err
	}
	for i := range manyFiles {
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
