// Package tree holds file trees as lists of entries: metadata, and a way to
// open each regular file's content when it is needed.
//
// Guarantees:
//
//   - An entry carries nothing of the machine it was read on: no owner names,
//     no inode numbers, no access or change times, except in its Stamp, which
//     goes into no image.
//   - A tree is in canonical order: depth first, parents before children, the
//     children of a directory by the bytes of their names.
//   - Names and link targets are bytes. They are never transcoded and link
//     targets are kept verbatim.
//   - Reading a directory never follows a symlink inside it, and never opens a
//     FIFO, a socket or a device.
//   - Content is opened on demand, any number of times; it is checked against
//     the size that the entry states. A FileReader reads many small files.
//   - Each name is a file of its own, with its content. Where a source states that
//     several are names of one file, their Inode says so too.
//
// Non-goals: sparse files (read expanded).
package tree

import (
	"fmt"
	"io"
	"iter"

	"github.com/varve-image/varve/internal/owner"
)

// Type is the type of an entry. The values are the tar type flags.
type Type byte

// The types of entries.
const (
	Regular Type = '0'
	Symlink Type = '2'
	Char    Type = '3'
	Block   Type = '4'
	Dir     Type = '5'
	FIFO    Type = '6'
	// Link is a further name of the regular file at Linkname, an earlier path of the same tar. It is
	// for those who write tars: no tree has one.
	Link Type = '1'
)

// MaxID is the largest user or group id: 2^32-1 means "no id" to the kernel.
const MaxID = owner.MaxID

// Entry is one file, directory, symlink or device of a tree.
type Entry struct {
	// Path is slash-separated, clean and relative to the tree's root, which is
	// "." itself.
	Path string
	Type Type
	// Implied says that the entry is a directory that is there only to hold what
	// is below it: an explicit entry's attributes override its own.
	Implied bool
	// Mode holds the permission bits with set-user-id, set-group-id and sticky,
	// as in chmod(2): 0 to 07777.
	Mode uint32
	// UID and GID are 0 to MaxID.
	UID, GID uint32
	// Uname and Gname are the owner's names, or empty.
	Uname, Gname string
	// ModTime is in seconds since 1970-01-01T00:00:00Z.
	ModTime int64
	// Linkname is a symlink's target, verbatim.
	Linkname string
	// Devmajor and Devminor are a device's numbers.
	Devmajor, Devminor uint32
	// Xattrs are the extended attributes by name: security.capability and
	// user.* only.
	Xattrs map[string]string
	// Size is a regular file's length in bytes, 0 for anything else.
	Size int64
	// Content is a regular file's content, nil for none.
	Content Content
	// Stamp tells the file on disk from any other and from itself after a change.
	// It is never written to an image. The zero Stamp says nothing. Whoever gives the entry
	// other content has to clear it: see SetContent.
	Stamp Stamp
	// Inode is the same in all regular files of a tree that are names of one file, and nil where a
	// source states no other name. A tar that is made of the tree may have hard links in their
	// place. Whoever gives one of them other content has to clear it: see SetContent.
	Inode *Inode
	// Source says where the entry comes from, for messages.
	Source string
}

// SetContent gives a regular file other content, of so many bytes, which the stamp of the old one
// does not speak for, and which other names of the file do not get.
func (e *Entry) SetContent(size int64, c Content) {
	e.Size, e.Content, e.Stamp, e.Inode = size, c, Stamp{}, nil
}

// Content is the content of a regular file.
type Content interface {
	// Open opens it: exactly as many bytes as the entry's Size, then io.EOF. An error names the
	// file. Open may be called any number of times, also by several goroutines at once.
	Open() (io.ReadCloser, error)
}

// OpenFunc is Content that a function opens.
type OpenFunc func() (io.ReadCloser, error)

// Open calls f.
func (f OpenFunc) Open() (io.ReadCloser, error) { return f() }

// Open opens a regular file's Content.
func (e *Entry) Open() (io.ReadCloser, error) {
	if e.Content == nil {
		return nil, fmt.Errorf("%q has no content", e.Path)
	}
	return e.Content.Open()
}

// Seq is a tree as a stream. After an error nothing follows. The receiver may
// keep or change an entry.
type Seq = iter.Seq2[*Entry, error]
