//go:build amd64 || arm64

package first

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/kernel"
)

// Of the files in which the kernel describes itself, a step may change none, whoever runs
// it, and sees none that reveal the machine: those that container engines hide, and how the
// machine was booted.

// readOnly returns the files and directories of settings.
func readOnly() []string {
	return []string{"/proc/bus", "/proc/driver", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// hidden returns patterns of the files to be hidden.
func hidden() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/swaps", "/proc/timer_list", "/proc/timer_stats",
		"/sys/firmware", "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu*/thermal_throttle", "/sys/fs/selinux",
	}
}

// protect applies both, once all is mounted.
func protect() error {
	for _, name := range readOnly() {
		if err := cover(name, func(fd int) (int, error) { return cloneReadOnly(fd, "") }); err != nil {
			return err
		}
	}
	for _, pattern := range hidden() {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := cover(name, nothingLike); err != nil {
				return err
			}
		}
	}
	return nil
}

// cover mounts something else over a file, if it exists.
func cover(name string, with func(fd int) (mount int, err error)) error {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("protect %q: %w", name, err)
	}
	defer unix.Close(fd)
	mount, err := with(fd)
	if err == nil {
		err = unix.MoveMount(mount, "", fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		unix.Close(mount)
	}
	if err != nil {
		return kernel.Lack(fmt.Sprintf("protect %q", name), err)
	}
	return nil
}

// cloneReadOnly returns a read-only mount of what is there.
func cloneReadOnly(dir int, name string) (int, error) {
	fd, err := unix.OpenTree(dir, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// nothingLike returns an empty directory for a directory, and an always empty file for any
// other file.
func nothingLike(fd int) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return cloneReadOnly(unix.AT_FDCWD, "/dev/null")
	}
	attrs := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_RDONLY
	return newFileSystem("tmpfs", attrs, map[string]string{"mode": "0555", "nr_inodes": "2"})
}
