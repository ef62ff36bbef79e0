package tree

import "golang.org/x/sys/unix"

// makeNode makes a device or a FIFO.
func makeNode(dir int, name string, e *Entry) error {
	kind := map[Type]uint32{Char: unix.S_IFCHR, Block: unix.S_IFBLK, FIFO: unix.S_IFIFO}[e.Type]
	// The kernel's numbers have 12 and 20 bits (include/linux/kdev_t.h).
	if e.Devmajor >= 1<<12 || e.Devminor >= 1<<20 {
		return unix.EINVAL
	}
	return unix.Mknodat(dir, name, kind|0o600, int(unix.Mkdev(e.Devmajor, e.Devminor)))
}

func setXattr(fd int, name, value string) error {
	return unix.Fsetxattr(fd, name, []byte(value), 0)
}
