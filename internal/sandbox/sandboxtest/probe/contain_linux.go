package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// contain runs a program like root in a container: with the directory in the first argument
// as its root, and Docker's capabilities. It is started in namespaces of its own, except
// for the user namespace: owners are the machine's own. Devices cannot be opened.
func contain(args []string) error {
	root := args[0]
	if err := enterRoot(root); err != nil {
		return fmt.Errorf("make %q the root: %w", root, err)
	}
	unix.Umask(0o022)
	if err := unix.Setgroups(nil); err != nil {
		return err
	}
	if err := keepDockers(); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return unix.Exec(args[1], args[1:], []string{})
}

func enterRoot(root string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return err
	}
	// Files of the kernel must not be writable: this root is the machine's.
	if err := unix.Mount("proc", root+"/proc", "proc", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// keepDockers leaves the capabilities that root has in one of Docker's containers by
// default.
func keepDockers() error {
	var set [2]uint32
	for _, c := range []int{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD, unix.CAP_NET_RAW, unix.CAP_SETGID,
		unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_AUDIT_WRITE,
	} {
		set[c/32] |= 1 << (c % 32)
	}
	for c := range uintptr(64) {
		if set[c/32]&(1<<(c%32)) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err == unix.EINVAL {
			break // the last one that this kernel has
		} else if err != nil {
			return err
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: set[0], Permitted: set[0]}, {Effective: set[1], Permitted: set[1]}}
	return unix.Capset(&header, &data[0])
}
