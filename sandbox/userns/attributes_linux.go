//go:build amd64 || arm64

package userns

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// attributeCalls are those of extended attributes. Only capabilities are ours.
func (e *emulator) attributeCalls() {
	type kind struct {
		set, get, list, remove uint32
		flags                  int
	}
	for _, k := range []kind{
		{unix.SYS_SETXATTR, unix.SYS_GETXATTR, unix.SYS_LISTXATTR, unix.SYS_REMOVEXATTR, 0},
		{unix.SYS_LSETXATTR, unix.SYS_LGETXATTR, unix.SYS_LLISTXATTR, unix.SYS_LREMOVEXATTR, unix.AT_SYMLINK_NOFOLLOW},
		{unix.SYS_FSETXATTR, unix.SYS_FGETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FREMOVEXATTR, unix.AT_EMPTY_PATH},
	} {
		on := func(number uint32, named bool, f func(*call, *file) answer) {
			e.calls[number] = func(c *call) answer { return c.onAttribute(k.flags, named, f) }
		}
		on(k.set, true, e.setCapability)
		on(k.get, true, e.getCapability)
		on(k.list, false, e.listAttributes)
		on(k.remove, true, e.removeCapability)
	}
}

// onAttribute opens the file that a call is about, if that is about
// capabilities.
func (c *call) onAttribute(flags int, named bool, f func(*call, *file) answer) answer {
	if named {
		if name, err := c.text(1); err != nil || name != capabilityXattr {
			return pass
		}
	}
	dir, name := unix.AT_FDCWD, ""
	if flags == unix.AT_EMPTY_PATH {
		dir = c.fd(0)
	} else {
		var err error
		if name, err = c.text(0); err != nil || name == "" {
			return pass
		}
	}
	file, ok := c.open(dir, name, flags)
	if !ok {
		return pass
	}
	defer file.close()
	return f(c, file)
}

// The forms of the attribute that there are: revision 1, 2, and 3 with a root
// id (linux/capability.h).
const (
	capabilityMax      = 24
	capabilityRevision = 0xff000000
)

func (e *emulator) setCapability(c *call, f *file) answer {
	if cr := e.identities.of(c.tid); !cr.root() {
		return fails(unix.EPERM)
	}
	if size := c.args[3]; size > capabilityMax {
		return fails(unix.EINVAL)
	}
	value := make([]byte, c.args[3])
	if n, err := c.read(uintptr(c.args[2]), value); err != nil || n != len(value) {
		return fails(unix.EFAULT)
	}
	if !validCapability(value) || f.mode&unix.S_IFMT != unix.S_IFREG {
		return fails(unix.EINVAL)
	}
	switch flags := c.int(4); {
	case flags&unix.XATTR_CREATE != 0 && f.rec.capability != "":
		return fails(unix.EEXIST)
	case flags&unix.XATTR_REPLACE != 0 && f.rec.capability == "":
		return fails(unix.ENODATA)
	}
	rec := f.rec
	rec.capability = string(value)
	return e.record(f, rec)
}

// validCapability tells whether the kernel takes a value: of revision 2, or of 3
// for root.
func validCapability(value []byte) bool {
	if len(value) < 4 {
		return false
	}
	revision := binary.LittleEndian.Uint32(value) & capabilityRevision
	return revision == 0x02000000 && len(value) == 20 || revision == 0x03000000 && len(value) == 24
}

func (e *emulator) getCapability(c *call, f *file) answer {
	if f.rec.capability == "" {
		return pass
	}
	return c.give(2, 3, f.rec.capability)
}

func (e *emulator) listAttributes(c *call, f *file) answer {
	if f.rec.capability == "" {
		return pass
	}
	list, err := growing(func(buf []byte) (int, error) { return unix.Listxattr(procFD(f.fd), buf) })
	if err != nil && err != unix.ENOTSUP {
		return fails(err)
	}
	return c.give(1, 2, string(list)+capabilityXattr+"\x00")
}

// give returns a value as the calls do that are first asked for its size.
func (c *call) give(at, size int, value string) answer {
	switch n := c.args[size]; {
	case n == 0:
	case n < uint64(len(value)):
		return fails(unix.ERANGE)
	default:
		if err := c.write(at, []byte(value)); err != nil {
			return fails(unix.EFAULT)
		}
	}
	return answer{value: int64(len(value))}
}

func (e *emulator) removeCapability(c *call, f *file) answer {
	if cr := e.identities.of(c.tid); !cr.root() {
		return fails(unix.EPERM)
	}
	if f.rec.capability == "" {
		return fails(unix.ENODATA)
	}
	rec := f.rec
	rec.capability = ""
	return e.record(f, rec)
}

// keptXattr tells whether an extended attribute belongs into a layer.
func keptXattr(name string) bool {
	return name == capabilityXattr || strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}
