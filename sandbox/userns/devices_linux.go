//go:build amd64 || arm64

package userns

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// deviceXattr marks the empty file that stands for a device where owners are
// those on disk. It is gone with the file, and copied with it, as a device is.
const deviceXattr = "user.varve.device"

// deviceMark is the attribute's value.
func deviceMark(kind uint32, rdev uint64) []byte {
	name := "c"
	if kind == unix.S_IFBLK {
		name = "b"
	}
	return fmt.Appendf(nil, "%s %d %d", name, unix.Major(rdev), unix.Minor(rdev))
}

// markedDevice makes a record of the device that a file stands for.
func markedDevice(mark string, rec *record) error {
	var name string
	var major, minor uint32
	if _, err := fmt.Sscanf(mark, "%s %d %d", &name, &major, &minor); err != nil || name != "c" && name != "b" {
		return fmt.Errorf("its attribute %s is %q, which is no device", deviceXattr, mark)
	}
	rec.kind, rec.rdev = unix.S_IFCHR, unix.Mkdev(major, minor)
	if name == "b" {
		rec.kind = unix.S_IFBLK
	}
	return nil
}

// deviceCalls are those that make devices, where the kernel does all else.
func (e *emulator) deviceCalls() {
	e.calls[unix.SYS_MKNODAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.mkdevice(c, dir, name, c.uint32(2), c.args[3])
	})
	e.oldDeviceCalls()
}

// mkdevice makes a marked file for a device.
func (e *emulator) mkdevice(c *call, dirfd int, name string, mode uint32, rdev uint64) answer {
	kind := mode & unix.S_IFMT
	if kind != unix.S_IFCHR && kind != unix.S_IFBLK || strings.HasSuffix(name, "/") || !c.isRoot() {
		return pass
	}
	dir, last, ok := c.parent(dirfd, name)
	if !ok {
		return pass
	}
	defer dir.close()
	fd, err := unix.Openat(dir.fd, last, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, mode&^c.umask()&0o777)
	if err != nil {
		return fails(err)
	}
	defer unix.Close(fd)
	if err := unix.Fsetxattr(fd, deviceXattr, deviceMark(kind, uint64(uint32(rdev))), 0); err != nil {
		_ = unix.Unlinkat(dir.fd, last, 0) // what counts is the first error
		return fails(err)
	}
	return answer{}
}

// isRoot tells whether the caller really is the namespace's root.
func (c *call) isRoot() bool {
	status, err := os.ReadFile(c.proc("status"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "\nUid:\t")
	var real, effective int
	_, err = fmt.Sscan(rest, &real, &effective)
	return err == nil && effective == 0
}
