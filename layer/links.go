package layer

import (
	"maps"

	"github.com/varve-image/varve/tree"
)

// Links replaces further names of a file by hard links to its first name, in the tar that a Writer
// makes of entries. The zero value is for a Writer without a prefix.
type Links struct {
	// Prefix is the Writer's.
	Prefix string

	first map[*tree.Inode]*tree.Entry
}

// Replace returns e, or a tree.Link in its place: where an entry before it has the same Inode, and
// attributes that are all equal. What a tar says of the owner, mode and extended attributes of a
// link goes for the file, and so a Link states them again: engines change the owner of each name,
// and with that the kernel drops what a file may do.
func (l *Links) Replace(e *tree.Entry) *tree.Entry {
	if e.Inode == nil || e.Type != tree.Regular {
		return e
	}
	first := l.first[e.Inode]
	if first == nil {
		if l.first == nil {
			l.first = map[*tree.Inode]*tree.Entry{}
		}
		l.first[e.Inode] = e
		return e
	}
	if !sameFile(first, e) {
		return e
	}
	link := *e
	link.Type, link.Linkname, link.Size, link.Content = tree.Link, l.Prefix+first.Path, 0, nil
	return &link
}

// sameFile reports whether two names can be those of one file.
func sameFile(a, b *tree.Entry) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Uname == b.Uname && a.Gname == b.Gname &&
		a.ModTime == b.ModTime && a.Size == b.Size && maps.Equal(a.Xattrs, b.Xattrs)
}

// linked returns the layer's entries as they are written.
func (l *Layer) linked() tree.Seq {
	if !l.opts.HardLinks {
		return l.entries()
	}
	return func(yield func(*tree.Entry, error) bool) {
		links := Links{Prefix: l.opts.Prefix}
		for e, err := range l.entries() {
			if err == nil {
				e = links.Replace(e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
