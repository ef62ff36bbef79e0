// Package owner finds out whom a file belongs to. In a directory that several users
// can write to, a name that one expects to be one's own may be another's: a link
// that leads elsewhere, a directory with a name that somebody guessed.
//
// An answer about a file holds as long as nobody changes the file. So use it on an
// open file, or compare with one (os.SameFile).
package owner

import (
	"io/fs"
	"os"
	"syscall"
)

// MaxID is the largest user or group id: 2^32-1 means "no id" to the kernel.
const MaxID = 1<<32 - 2

// Of returns the user that a file belongs to, -1 if the system does not say.
func Of(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// Ours reports whether a file belongs to the user that this process acts as.
func Ours(info fs.FileInfo) bool { return Of(info) == os.Geteuid() }

// Trusted reports whether a file belongs to that user or to root.
func Trusted(info fs.FileInfo) bool { return Ours(info) || Of(info) == 0 }

// Keeps reports whether a directory keeps the names in it: no other user can rename or
// remove what this user or root has in it.
func Keeps(dir fs.FileInfo) bool {
	return Trusted(dir) && (dir.Mode().Perm()&0o022 == 0 || dir.Mode()&fs.ModeSticky != 0)
}

// TempDir is the mode of directories that are being filled and may be removed when their
// process has died. Nobody gives it to a directory for another reason, and no other user can
// change the mode of ours. So if others can rename what is ours, the mode proves what the
// name does not.
const TempDir = 0o700 | fs.ModeSticky

// Leftover reports whether a directory of ours with a temporary name in the directory around can
// only be a temporary one, whatever is in it. A process that was killed before it set the mode
// has left an empty one, which may simply be removed: whoever can give an empty directory another
// name can remove it as well.
func Leftover(dir, around fs.FileInfo) bool {
	return dir.IsDir() && (dir.Mode() == fs.ModeDir|TempDir || Keeps(around))
}
