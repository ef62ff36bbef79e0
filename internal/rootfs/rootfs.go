// Package rootfs makes the small files that programs expect in every root file
// system and that an image made from scratch lacks: users, name service, /tmp,
// /bin/sh, /usr/bin/env, CA certificates. Each preset is a tree of its own, for
// the caller to merge with the rest of the image.
//
// Guarantees:
//
//   - A preset is a tree in canonical order that starts with ".". It depends on
//     its arguments alone, but for CACertificates, which holds a file of the
//     host that the caller names.
//   - Everything is owned by 0:0, with time 0 and modes that are stated here,
//     whatever the umask.
//   - Directories above a preset's files are implied ones of mode 0755: any
//     other source decides what they look like.
//   - Input that would make a broken or dangerous file is refused: a passwd
//     line with a newline in it, a second root, a bundle that holds a private
//     key.
//
// Non-goals: looking for a shell or coreutils in an image, resolving a base
// image's symlinks, setting passwords.
//
// The contents are those of nixpkgs' dockerTools: fakeNss, shadowSetup, binSh,
// usrBinEnv and caCertificates.
package rootfs

import (
	"io"
	"path"
	"slices"
	"strings"

	"github.com/varve-image/varve/tree"
)

// Tmp returns /tmp, writable for all with the sticky bit: mode 1777.
func Tmp() []*tree.Entry {
	return assemble("preset tmp", dir("tmp", 0o1777))
}

// assemble makes a preset's tree: the entries, which must differ in path, and
// the directories above them.
func assemble(source string, entries ...*tree.Entry) []*tree.Entry {
	have := make(map[string]bool, len(entries))
	for _, e := range entries {
		have[e.Path] = true
	}
	all := slices.Clone(entries)
	for _, e := range entries {
		for p := e.Path; p != "."; {
			p = path.Dir(p)
			if !have[p] {
				have[p] = true
				parent := dir(p, 0o755)
				parent.Implied = true
				all = append(all, parent)
			}
		}
	}
	for _, e := range all {
		e.Source = source
	}
	slices.SortFunc(all, func(a, b *tree.Entry) int {
		return slices.Compare(components(a.Path), components(b.Path))
	})
	return all
}

// components splits a path; "." has none and so comes first.
func components(p string) []string {
	if p == "." {
		return nil
	}
	return strings.Split(p, "/")
}

func dir(path string, mode uint32) *tree.Entry {
	return &tree.Entry{Path: path, Type: tree.Dir, Mode: mode}
}

func file(path string, mode uint32, text string) *tree.Entry {
	return &tree.Entry{
		Path: path,
		Type: tree.Regular,
		Mode: mode,
		Size: int64(len(text)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil },
	}
}

func link(path, target string) *tree.Entry {
	return &tree.Entry{Path: path, Type: tree.Symlink, Mode: 0o777, Linkname: target}
}
