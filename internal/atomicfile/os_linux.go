package atomicfile

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unnamed opens a new file in dir that has no name yet.
func unnamed(dir *os.Root) (*os.File, error) {
	return dir.OpenFile(".", os.O_RDWR|unix.O_TMPFILE, 0o666)
}

// unnamedIn opens such a file in the directory dir; only this user may open it by
// way of /proc.
func unnamedIn(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
}

// link gives a name to a file without one. It needs /proc, as an ordinary user may
// not link a descriptor directly.
func link(f, dir *os.File, name string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
}

// syncAll makes everything in a directory durable.
func syncAll(dir *os.File) error { return unix.Syncfs(int(dir.Fd())) }
