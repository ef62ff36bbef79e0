package tree

import (
	"context"
	"fmt"

	"github.com/varve-image/varve/internal/problems"
)

// JoinSource is a directory in a store path whose files are linked to.
type JoinSource struct {
	// Logical is the path that symlinks point to: where the directory is while the image runs.
	Logical string
	// Physical is the path where it can be read now.
	Physical string
}

// SymlinkJoin returns one tree per source, for Merge, which links to the source's files as lndir
// does, and with it nixpkgs' contents: directories are the tree's own (Implied, 0755 0:0),
// regular files become symlinks to their logical path, symlinks are copied with their text. A
// source that cannot be read, or is not a directory (*NotDirError), is an error; the errors of
// all sources are reported together.
func SymlinkJoin(ctx context.Context, sources []JoinSource) ([][]*Entry, error) {
	trees := make([][]*Entry, len(sources))
	var bad problems.List
	for i, s := range sources {
		tree, err := symlinkTree(ctx, s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			bad.Addf("link to the files of %q: %w", s.Logical, err)
		}
		trees[i] = tree
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	return trees, nil
}

// NotDirError says that something other than a directory was found where one has to be.
type NotDirError struct {
	Path string
	Type Type
}

func (e *NotDirError) Error() string {
	return fmt.Sprintf("%q is a %s, not a directory", e.Path, e.Type)
}

func symlinkTree(ctx context.Context, s JoinSource) ([]*Entry, error) {
	var links []*Entry
	for e, err := range FromDir(s.Physical, DirOptions{Store: true}) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if e.Path == "." && e.Type != Dir {
			return nil, &NotDirError{s.Physical, e.Type}
		}
		link := &Entry{Path: e.Path, Type: e.Type, Mode: 0o777, ModTime: e.ModTime, Linkname: e.Linkname, Stamp: e.Stamp, Source: e.Source}
		switch e.Type {
		case Dir:
			link.Mode, link.Implied = 0o755, true
		case Regular:
			link.Type, link.Linkname = Symlink, s.Logical+"/"+e.Path
		}
		links = append(links, link)
	}
	return links, nil
}
