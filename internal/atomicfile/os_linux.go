package atomicfile

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unnamed opens a new file in dir that has no name yet.
func unnamed(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o666)
}

// nameIt gives a file without a name one. It needs /proc, as an ordinary user
// may not link a descriptor by itself.
func nameIt(f *os.File, name string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
}

// syncAll makes all that is in a directory durable.
func syncAll(dir *os.File) error { return unix.Syncfs(int(dir.Fd())) }
