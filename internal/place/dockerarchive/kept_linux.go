package dockerarchive

import (
	"os"

	"golang.org/x/sys/unix"
)

// inMemory reports whether a file takes memory instead of space on a disk.
func inMemory(f *os.File) bool {
	var st unix.Statfs_t
	err := unix.Fstatfs(int(f.Fd()), &st)
	return err != nil || st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC
}
