package rmtree

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Allow gives the directory called name in the open directory dir the mode 0700,
// if it is this user's. A link is not followed.
func Allow(dir int, name string) error {
	// A descriptor of this kind needs no permission to read. It does not support fchmod, but has
	// a name in /proc.
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() {
		return unix.EPERM
	}
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700)
}
