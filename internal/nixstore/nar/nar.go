// Package nar reads and writes Nix archives (NAR): the form in which Nix hashes,
// stores and sends the files of a store path.
//
// Guarantees:
//
//   - Each tree has exactly one archive, and Reader takes nothing else: it
//     refuses padding that is not zero, names out of order or twice, names that
//     are no file names, fields in another order and bytes after the end.
//   - Reader's memory is bounded whatever the archive says: by a name's, a
//     link's or a path's longest length and by MaxDepth. Content is streamed.
//     Open holds at most 10 million files, and 256 MiB of paths and links.
//   - What is wrong is an error that says at which byte, and names the entry.
//   - Writer writes what it is told in the order it is told, and finds out
//     neither names nor sizes by itself.
//
// Non-goals: owners, times and extended attributes, which archives do not have,
// and compression.
//
// Source: "Nix Archive (NAR) format" in the Nix manual. Every string is its
// length in eight bytes, little end first, then itself, padded with zeros to a
// multiple of eight.
package nar

const magic = "nix-archive-1"

const (
	// MaxDepth is how many directories may stand inside one another.
	MaxDepth = 1000
	// maxName bounds a file name, in bytes, as file systems do.
	maxName = 255
	// maxTarget bounds the text of a symlink, and maxPath a path below the root,
	// as systems do.
	maxTarget = 4095
	maxPath   = 4095
)

// Type is what a file is.
type Type int

// The types of files that archives hold.
const (
	Regular Type = iota + 1
	Directory
	Symlink
)

// Header describes a file in an archive.
type Header struct {
	// Path is relative to the archive's root, which is "." itself.
	Path string
	Type Type
	// Executable is set for regular files that are.
	Executable bool
	// Size is a regular file's length in bytes. Offset is where its content
	// begins in the archive.
	Size, Offset int64
	// Target is a symlink's text.
	Target string
}

// padding is how many zeros follow a string of size bytes.
func padding(size uint64) uint64 { return -size & 7 }
