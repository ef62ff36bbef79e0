// Package nar reads and writes Nix archives (NAR): the form in which Nix hashes,
// stores and sends the files of a store path.
//
// Guarantees:
//
//   - Each tree has exactly one archive, and Reader takes nothing else: it
//     refuses padding that is not zero, names out of order or repeated, illegal
//     file names, fields in another order and bytes after the end.
//   - Reader's memory is limited whatever the archive says: by the maximum
//     length of a name, link or path, and by MaxDepth. Content is streamed.
//     Open holds at most 10 million files, and 256 MiB of paths and links.
//   - An error says at which byte, and names the entry.
//   - Writer writes what it is given in the given order, and finds out neither
//     names nor sizes by itself.
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
	// MaxDepth is how deep directories may be nested.
	MaxDepth = 1000
	// maxName limits a file name, in bytes, as file systems do.
	maxName = 255
	// maxTarget limits the target of a symlink, and maxPath a path below the root,
	// as operating systems do.
	maxTarget = 4095
	maxPath   = 4095
)

// Type is the type of a file.
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
	// Executable is set for executable regular files.
	Executable bool
	// Size is a regular file's length in bytes. Offset is where its content begins
	// in the archive.
	Size, Offset int64
	// Target is a symlink's target.
	Target string
}

// padding returns the number of zeros after a string of size bytes.
func padding(size uint64) uint64 { return -size & 7 }
