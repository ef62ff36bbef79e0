//go:build amd64 || arm64

package userns

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrSet is names and values of extended attributes, in a form that can be
// compared: sorted, and each of the texts after its length in four bytes.
type xattrSet string

// maxAttributes bounds the attributes that a step sets, in bytes: they are in our
// memory.
const maxAttributes = 64 << 20

func makeXattrs(all map[string]string) xattrSet {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, text := range []string{name, all[name]} {
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(text))), text...)
		}
	}
	return xattrSet(b)
}

// all returns the values by their names.
func (a xattrSet) all() map[string]string {
	next := func() string {
		end := 4 + binary.LittleEndian.Uint32([]byte(a[:4]))
		text := a[4:end]
		a = a[end:]
		return string(text)
	}
	found := map[string]string{}
	for len(a) > 0 {
		name := next()
		found[name] = next()
	}
	return found
}

func (a xattrSet) with(name, value string) xattrSet {
	all := a.all()
	all[name] = value
	return makeXattrs(all)
}

func (a xattrSet) without(name string) xattrSet {
	all := a.all()
	delete(all, name)
	return makeXattrs(all)
}

// keptXattr tells whether an extended attribute belongs into a layer.
func keptXattr(name string) bool {
	return name == capabilityXattr || strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

// answers tells whether an attribute is the emulator's. Capabilities are not for
// those who have no fake root.
func (e *emulator) answers(attr string) bool {
	return keptXattr(attr) && (e.scope == everything || attr != capabilityXattr)
}

// attributeCalls are those of extended attributes: of those that belong into
// a layer.
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
		on := func(number uint32, named bool, f func(*call, *file, string) answer) {
			e.calls[number] = func(c *call) answer { return c.onAttribute(k.flags, named, f) }
		}
		on(k.set, true, e.setAttribute)
		on(k.get, true, e.getAttribute)
		on(k.list, false, e.listAttributes)
		on(k.remove, true, e.removeAttribute)
	}
}

// onAttribute opens the file that a call is about, if that is about an
// attribute of ours.
func (c *call) onAttribute(flags int, named bool, f func(*call, *file, string) answer) answer {
	var attr string
	if named {
		var err error
		if attr, err = c.text(1); err != nil || !c.e.answers(attr) {
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
	return f(c, file, attr)
}

// The forms of capabilities that there are: revision 1, 2, and 3 with a root
// id (linux/capability.h).
const capabilityRevision = 0xff000000

// maxAttribute is how long a value may be, XATTR_SIZE_MAX.
const maxAttribute = 65536

func (e *emulator) setAttribute(c *call, f *file, attr string) answer {
	if err := e.mayChange(c, f, attr); err != nil {
		return fails(err)
	}
	if c.args[3] > maxAttribute {
		return fails(unix.E2BIG)
	}
	value := make([]byte, c.args[3])
	if n, err := c.read(uintptr(c.args[2]), value); err != nil || n != len(value) {
		return fails(unix.EFAULT)
	}
	if attr == capabilityXattr && !validCapability(value) {
		return fails(unix.EINVAL)
	}
	_, there := f.rec.xattrs.all()[attr]
	switch flags := c.int(4); {
	case flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0:
		return fails(unix.EINVAL)
	case flags&unix.XATTR_CREATE != 0 && there:
		return fails(unix.EEXIST)
	case flags&unix.XATTR_REPLACE != 0 && !there:
		return fails(unix.ENODATA)
	}
	rec := f.rec
	rec.xattrs = rec.xattrs.with(attr, string(value))
	if !e.records.room(len(rec.xattrs) - len(f.rec.xattrs)) {
		return fails(unix.ENOSPC)
	}
	return e.record(f, rec)
}

// mayChange tells whether the caller may change an attribute of a file, as
// xattr(7) has it.
func (e *emulator) mayChange(c *call, f *file, attr string) error {
	who := e.identities.of(c.tid)
	kind := f.mode & unix.S_IFMT
	switch {
	case attr == capabilityXattr && !who.root():
		return unix.EPERM
	case attr == capabilityXattr && kind != unix.S_IFREG:
		return unix.EINVAL
	case kind != unix.S_IFREG && kind != unix.S_IFDIR || f.rec.kind != 0:
		return unix.EPERM
	case kind == unix.S_IFDIR && f.mode&unix.S_ISVTX != 0 && !who.root() && who.uid.fs != f.rec.uid:
		return unix.EPERM
	case attr != capabilityXattr && !who.may(f, mayWrite):
		return unix.EACCES
	}
	return nil
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

func (e *emulator) getAttribute(c *call, f *file, attr string) answer {
	value, there := f.rec.xattrs.all()[attr]
	if !there {
		return fails(unix.ENODATA)
	}
	if who := e.identities.of(c.tid); attr != capabilityXattr && !who.may(f, mayRead) {
		return fails(unix.EACCES)
	}
	return c.give(2, 3, value)
}

func (e *emulator) listAttributes(c *call, f *file, _ string) answer {
	list, err := growing(func(buf []byte) (int, error) { return unix.Listxattr(procFD(f.fd), buf) })
	if err != nil && err != unix.ENOTSUP {
		return fails(err)
	}
	all := string(list)
	for _, name := range slices.Sorted(maps.Keys(f.rec.xattrs.all())) {
		if e.answers(name) {
			all += name + "\x00"
		}
	}
	return c.give(1, 2, all)
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

func (e *emulator) removeAttribute(c *call, f *file, attr string) answer {
	if err := e.mayChange(c, f, attr); err != nil {
		return fails(err)
	}
	if _, there := f.rec.xattrs.all()[attr]; !there {
		return fails(unix.ENODATA)
	}
	rec := f.rec
	rec.xattrs = rec.xattrs.without(attr)
	return e.record(f, rec)
}
