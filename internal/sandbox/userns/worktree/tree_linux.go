//go:build amd64 || arm64

package worktree

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// Tree is a step's tree: an open directory with nothing mounted on it, and its content
// before the step.
type Tree struct {
	Dir int
	Was *Original
}

// Original describes a file as it was unpacked. Whatever is done to it later changes its
// inode or the time of its last change. nil means no file.
type Original struct {
	ino      uint64
	ctime    int64
	children map[string]*Original
}

// Is reports whether a file is the one that was there, and is untouched.
func (o *Original) Is(st *unix.Stat_t) bool {
	return o != nil && o.ino == st.Ino && o.ctime == st.Ctim.Nano()
}

// Was returns what a directory had under a name, or nil.
func (o *Original) Was(name string) *Original {
	if o == nil {
		return nil
	}
	return o.children[name]
}

// names returns the names in a directory.
func (o *Original) names() []string {
	if o == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(o.children))
}

// child makes the original of a file in a directory.
func (o *Original) child(name string) *Original {
	if o.children == nil {
		o.children = map[string]*Original{}
	}
	child := &Original{}
	o.children[name] = child
	return child
}
