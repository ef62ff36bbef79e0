package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nixdb"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
)

// Paths of stores that tests make: one that refers to itself and to the other.
const (
	nixApp = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app-1.0"
	nixLib = "/nix/store/cccccccccccccccccccccccccccccccc-libc-2"
)

// registered makes the Nix database of the store in dir/root: lines of
// "path: reference reference".
func registered(t *testing.T, dir string, lines ...string) {
	t.Helper()
	var paths []nixstate.Path
	for _, line := range lines {
		path, refs, _ := strings.Cut(line, ":")
		hash, err := nixstore.ParseHash(strings.Repeat("0", 64))
		must(t, err)
		paths = append(paths, nixstate.Path{PathInfo: nixstore.PathInfo{Path: path, NarHash: hash, NarSize: 1, References: strings.Fields(refs)}})
	}
	name := filepath.Join(dir, "root", nixstate.Place(nixstore.DefaultStoreDir))
	makeDirs(t, filepath.Dir(name))
	f, err := os.Create(name)
	must(t, err)
	must(t, nixdb.Write(t.Context(), f, paths), f.Close())
}

// hostileNix returns the rows "Nix": what a store's records can contain.
func hostileNix() []badInput {
	app := []string{"--name", "hello", "--root", "root", "--content", nixApp}
	store := func(t *testing.T, dir string) {
		put(t, filepath.Join(dir, "root"+nixApp, "bin/app"), nixLib, 0o555)
		put(t, filepath.Join(dir, "root"+nixLib, "lib/libc.so"), "libc", 0o444)
	}
	graph := func(text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			store(t, dir)
			put(t, filepath.Join(dir, "graph.json"), strings.NewReplacer("$APP", nixApp, "$LIB", nixLib).Replace(text), 0o644)
		}
	}
	withGraph := append(append([]string{}, app...), "--closure", "graph.json")
	node := func(path, refs string) string { return fmt.Sprintf(`[{"path": %q, "references": [%s]}]`, path, refs) }
	database := func(lines ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			store(t, dir)
			registered(t, dir, lines...)
		}
	}
	list := []badInput{
		{name: "missing reference", prepare: graph(node("$APP", `"$LIB"`)), args: withGraph, message: []string{"closure: ", nixApp, nixLib, "not in the closure"}},
		{name: "cycle", prepare: graph(`[{"path": "$APP", "references": ["$LIB"]}, {"path": "$LIB", "references": ["$APP"]}]`), args: withGraph, message: []string{"closure: ", "form a cycle", nixApp, nixLib}},
		{name: "cycle in the database", prepare: database(nixApp+": "+nixLib, nixLib+": "+nixApp), args: app, message: []string{"form a cycle", nixApp, nixLib}},
		{name: "hash of something else", prepare: database(nixApp + ":"), args: append(append([]string{}, app...), "--verify-store"), code: 4, message: []string{nixApp, "has files with the NAR hash"}},
		{name: "path that is not there", prepare: func(t *testing.T, dir string) {
			database(nixApp+": "+nixLib, nixLib+":")(t, dir)
			must(t, os.RemoveAll(filepath.Join(dir, "root"+nixLib)))
		}, args: app, code: 1, message: []string{nixLib, "no such file"}},
		{name: "path that is a FIFO", prepare: func(t *testing.T, dir string) {
			database(nixApp+": "+nixLib, nixLib+":")(t, dir)
			must(t, os.RemoveAll(filepath.Join(dir, "root"+nixLib)))
			must(t, syscall.Mkfifo(filepath.Join(dir, "root"+nixLib), 0o644))
		}, args: app, code: 1, message: []string{nixLib, "FIFO"}},
		{name: "archive that is none", prepare: func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "x.nar"), "\x1b[2J", 0o644)
		}, args: []string{"--name", "hello", "--copy", "x.nar"}, code: 1, message: []string{"x.nar", "it is not a Nix archive"}},
		{name: "archive that is cut", prepare: func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "x.nar"), "\x0d\x00\x00\x00\x00\x00\x00\x00nix-archive-1\x00\x00\x00\x01", 0o644)
		}, args: []string{"--name", "hello", "--copy", "x.nar"}, code: 1, message: []string{"x.nar", "byte 25", "unexpected EOF"}},
	}
	for _, bad := range []string{"/etc/passwd", "/nix/store/../../etc/passwd", "/nix/store/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee-app", "/nix/store/short", "/nix/store/.links"} {
		list = append(list,
			badInput{name: "path " + bad, prepare: graph(node(bad, "")), args: withGraph, message: []string{"closure: ", bad}},
			badInput{name: "reference " + bad, prepare: graph(node("$APP", fmt.Sprintf("%q", bad))), args: withGraph, message: []string{"closure: ", nixApp, bad}})
	}
	return list
}
