//go:build !linux

package rmtree

import (
	"os"

	"golang.org/x/sys/unix"
)

// Allow gives the directory called name in the open directory dir the mode 0700,
// if it is this user's. A link is not followed.
func Allow(dir int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.EPERM
	}
	return unix.Fchmodat(dir, name, 0o700, unix.AT_SYMLINK_NOFOLLOW)
}
