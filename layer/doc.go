// Package layer writes the layers of container images, which are deterministic
// tars, and reads layers that others have stored.
//
// Guarantees:
//
//   - The bytes of a layer are a function of its entries, the dialect and the
//     prefix alone. No clock, environment, locale, umask, user, core count or
//     order of directory entries shows in them, and no version of Go: the
//     headers are written here, field by field.
//   - A store layer is byte for byte what nixpkgs' streamLayeredImage writes; a
//     tree in the GNU dialect is byte for byte what GNU tar writes. Where the
//     two could not say something (extended attributes), docs/layer-format.md
//     does. [FormatVersion] names all of it.
//   - A number is written whole or not at all, a name as the bytes that it is.
//     What a tar cannot say, or its readers do not agree on, is an error that
//     names the entry.
//   - A layer is a description. It is read when its [Info] is asked for, and
//     again each time that it is written; nothing is unpacked, spooled to disk
//     or held in memory, where a layer needs a few buffers of 1 MiB and of what
//     is read ahead of small files, whatever its size.
//   - What Write has written is what Info says, or Write fails and names the
//     file that changed. For files in a store, which nobody writes to, it
//     compares sizes and change times, not the content, and reads the content
//     again only if those differ.
//   - Content is opened by several goroutines at once.
//
// Non-goals: hard links and sparse entries (each name is a file of its own,
// written in full), access and change times, fractions of a second, times
// before 1970, whiteouts' meaning (to this package they are files), compressing
// (those who write layers to a place do), reading tars into trees (package tree
// does).
//
// # How
//
// [New] and [Store] make a [Layer] of entries; [Blob] and [File] are layers
// whose tar exists already. A [Writer] encodes entries into a buffer and hands
// it on: to a hash that runs beside the reading, to any io.Writer, or to a file
// or pipe, into which the kernel copies large files itself. Headers come in two
// dialects:
//
//   - [PAX], as Python's tarfile writes it: a ustar header whose fields hold
//     what fits and is ASCII, and before it an extended header with a record
//     for each of path, linkpath, uname, gname, uid, gid, size and mtime that
//     does not or is not.
//   - [GNU], as GNU tar writes it: numbers that do not fit in base 256, names
//     of more than 100 bytes in L and K records, and before them a PAX header
//     with the extended attributes where there are any.
//
// Both end with two blocks of zeros, filled up to a multiple of 10240 bytes.
// docs/layer-format.md has the contract byte by byte.
package layer
