package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/nixstore/nar"
)

// fewMiB is how much memory inputs of many small things may take.
const fewMiB = 300 << 20

// TestMemory: a million files, or JSON of 8 MiB whose values are almost empty, take
// little memory for what they are.
func TestMemory(t *testing.T) {
	layers := []string{"layers", "--name", "x", "--root", "root", "--content", nixApp, "--closure", "in"}
	many := func(before, part, after string) func(*testing.T) []byte {
		return func(*testing.T) []byte {
			return []byte(before + strings.Repeat(part+",", (8<<20-len(before+after))/len(part+",")-1) + part + after)
		}
	}
	node := `{"path": "` + nixApp + `", "references": []`
	for _, c := range []struct {
		name string
		data func(*testing.T) []byte
		args []string
		code int
	}{
		{"a million files in a NAR", manyFiles, []string{"layers", "--name", "x", "--copy", "in.nar"}, 0},
		{"a closure with numbers", many("["+node+`, "x": [`, "1", "]}]"), layers, 0},
		{"a closure with lists", many("["+node+`, "x": [`, "[]", "]}]"), layers, 0},
		{"a closure of numbers", many("["+node+"}, ", "1", "]"), layers, 2},
		{"a closure of nothing", many("["+node+"}, ", "{}", "]"), layers, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := openDir(t, "")
			put(t, filepath.Join(dir, "root"+nixApp, "bin/app"), "app", 0o555)
			name := "in"
			if slices.Contains(c.args, "in.nar") {
				name = "in.nar"
			}
			put(t, filepath.Join(dir, name), string(c.data(t)), 0o644)
			o := run(t, varve(t, dir, c.args...))
			t.Logf("%d MiB, %v", o.peak>>20, o.cpu)
			if o.code != c.code {
				t.Errorf("exit code %d, want %d: %.500s", o.code, c.code, o.stderr)
			}
			if o.peak > fewMiB {
				t.Errorf("it took %d MiB", o.peak>>20)
			}
		})
	}
}

// manyFiles returns the archive of a directory with a million files.
func manyFiles(*testing.T) []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.Begin()
	w.Directory()
	for i := range 1_000_000 {
		w.Entry(fmt.Sprintf("%07d", i))
		w.Regular(1, false)
		_, _ = w.Write([]byte("x")) // to memory
		w.EndRegular(1)
		w.EndEntry()
	}
	w.EndDirectory()
	return b.Bytes()
}
