package tree_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/varve-image/varve/tree"
)

// show prints what is in a tree.
func show(entries []*tree.Entry) {
	for _, e := range entries {
		fmt.Printf("%04o %d:%d %s\n", e.Mode, e.UID, e.GID, e.Path)
	}
}

// A directory is read, put at a place in the image, and given an owner.
func ExampleCopy_Apply() {
	dir, err := os.MkdirTemp("", "varve-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("hello\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	entries, err := tree.Collect(tree.FromDir(dir, tree.DirOptions{}))
	if err != nil {
		log.Fatal(err)
	}
	user := uint32(1000)
	entries, err = tree.Copy{Target: "/srv/www", UID: &user, GID: &user}.Apply(entries)
	if err != nil {
		log.Fatal(err)
	}
	show(entries)
	// Output:
	// 0755 0:0 .
	// 0755 0:0 srv
	// 0700 1000:1000 srv/www
	// 0600 1000:1000 srv/www/index.html
}

// Two trees become one. What one has and the other does not stays; a path that both have with
// different content is a conflict.
func ExampleMerge() {
	ctx := context.Background()
	program := []*tree.Entry{tree.NewFile("bin/hello", 0o755, "#!/bin/sh\n"), tree.NewFile("etc/hello", 0o644, "greeting=hello\n")}
	site := []*tree.Entry{tree.NewFile("etc/hello", 0o644, "greeting=hallo\n")}
	program[1].Source, site[0].Source = "program", "site"

	_, err := tree.Merge(ctx, tree.MergeOptions{}, program, site)
	fmt.Println(err)
	merged, err := tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictLast}, program, site)
	if err != nil {
		log.Fatal(err)
	}
	show(merged)
	// Output:
	// sources give different entries:
	// "etc/hello": regular file with different contents: from "program" and from "site"
	// 0755 0:0 .
	// 0755 0:0 bin
	// 0755 0:0 bin/hello
	// 0755 0:0 etc
	// 0644 0:0 etc/hello
}

// The layer that leads from one tree to another has whiteouts for what is gone.
func ExampleDiff() {
	ctx := context.Background()
	before := []*tree.Entry{tree.NewDir(".", 0o755), tree.NewFile("a", 0o644, "1"), tree.NewFile("b", 0o644, "1")}
	after := []*tree.Entry{tree.NewDir(".", 0o755), tree.NewFile("b", 0o644, "2")}
	changes, err := tree.Diff(ctx, before, after)
	if err != nil {
		log.Fatal(err)
	}
	show(changes)
	// Output:
	// 0755 0:0 .
	// 0000 0:0 .wh.a
	// 0644 0:0 b
}
