//go:build amd64 || arm64

package fakeroot

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
	"github.com/varve-image/varve/tree"
)

// xattrSet holds names and values of extended attributes, in a form that can be compared:
// sorted, and each text after its length in four bytes.
type xattrSet string

// These limit the attributes that a step sets, in bytes: they are in our memory.
const (
	maxAttributes       = 64 << 20
	maxAttributesOfFile = 1 << 20
)

func makeXattrs(all map[string]string) xattrSet {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, text := range []string{name, all[name]} {
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(text))), text...)
		}
	}
	return xattrSet(b)
}

// each calls f with names and values until that returns false.
func (a xattrSet) each(f func(name, value string) bool) {
	next := func() string {
		end := 4 + binary.LittleEndian.Uint32([]byte(a[:4]))
		text := a[4:end]
		a = a[end:]
		return string(text)
	}
	for len(a) > 0 {
		if name := next(); !f(name, next()) {
			return
		}
	}
}

// all returns the values by their names.
func (a xattrSet) all() map[string]string { return maps.Collect(a.each) }

func (a xattrSet) get(name string) (value string, ok bool) {
	for n, v := range a.each {
		if n == name {
			return v, true
		}
	}
	return "", false
}

func (a xattrSet) has(name string) bool {
	_, ok := a.get(name)
	return ok
}

func (a xattrSet) with(name, value string) xattrSet {
	all := a.all()
	all[name] = value
	return makeXattrs(all)
}

func (a xattrSet) without(name string) xattrSet {
	if !a.has(name) {
		return a
	}
	all := a.all()
	delete(all, name)
	return makeXattrs(all)
}

// answers reports whether the emulator answers for an attribute. Capabilities are not for
// steps without fake root.
func (e *Emulator) answers(attr string) bool {
	return strings.HasPrefix(attr, "user.") || isACL(attr) || attr == capabilityXattr && e.fakeRoot
}

// attributeCalls adds the calls about extended attributes.
func (e *Emulator) attributeCalls() {
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

// onAttribute opens the file that a call is about, if the call is about an attribute of
// ours.
func (c *call) onAttribute(flags int, named bool, f func(*call, *file, string) answer) answer {
	var attr string
	if named {
		var err error
		if attr, err = c.text(1); err != nil {
			return pass
		}
	}
	ours := !named || c.e.answers(attr)
	if who := c.e.identities.of(c.tid); !ours && who.overrides() {
		return pass
	}
	switch {
	case ours && attr == "user.":
		return fails(unix.EINVAL)
	case ours && len(attr) > maxAttributeName:
		return fails(unix.ERANGE)
	}
	dir, name := unix.AT_FDCWD, ""
	if flags == unix.AT_EMPTY_PATH {
		if dir = c.fd(0); c.onlyPath(dir) {
			return fails(unix.EBADF)
		}
	} else {
		var err error
		switch name, err = c.text(0); {
		case err != nil:
			return c.lost(err)
		case name == "":
			return c.lost(unix.ENOENT)
		}
	}
	return c.on(dir, name, flags, func(file *file) answer {
		if !ours {
			return pass // the kernel does not know who may go there
		}
		return f(c, file, attr)
	})
}

// attributeRefusal returns the result of calls about attributes that are not ours: what the
// kernel returns to processes without privilege over the machine.
func (c *call) attributeRefusal() error {
	switch c.number {
	case unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR, unix.SYS_FLISTXATTR:
		return unix.ENOTSUP
	}
	attr, err := c.text(1)
	switch {
	case err != nil:
		return unix.EFAULT
	case attr == "" || len(attr) > maxAttributeName:
		return unix.ERANGE
	case !strings.HasPrefix(attr, "trusted.") && !strings.HasPrefix(attr, "security."):
		return unix.ENOTSUP
	}
	switch c.number {
	case unix.SYS_GETXATTR, unix.SYS_LGETXATTR, unix.SYS_FGETXATTR:
		return unix.ENODATA
	}
	return unix.EPERM
}

// The limits of a name's and a value's length, XATTR_NAME_MAX and XATTR_SIZE_MAX.
const (
	maxAttributeName = 255
	maxAttribute     = 65536
)

func (e *Emulator) setAttribute(c *call, f *file, attr string) answer {
	if c.args[3] > maxAttribute {
		return fails(unix.E2BIG)
	}
	flags := c.int(4)
	if flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return fails(unix.EINVAL)
	}
	buf := make([]byte, c.args[3])
	if n, err := c.read(uintptr(c.args[2]), buf); err != nil || n != len(buf) {
		return fails(unix.EFAULT)
	}
	value := string(buf)
	if isACL(attr) {
		return e.setACL(c, f, attr, value)
	}
	if attr == capabilityXattr {
		var ok bool
		if value, ok = parseCapability(value); !ok {
			return fails(unix.EINVAL)
		}
	}
	if err := e.mayChange(c, f, attr); err != nil && !(attr == capabilityXattr && value == "") {
		return fails(err) // for an empty list of capabilities the kernel does not check the owner
	}
	switch there := f.rec.xattrs.has(attr); {
	case flags&unix.XATTR_CREATE != 0 && there:
		return fails(unix.EEXIST)
	case flags&unix.XATTR_REPLACE != 0 && !there:
		return fails(unix.ENODATA)
	}
	rec := f.rec
	rec.xattrs = rec.xattrs.with(attr, value)
	if len(rec.xattrs) > maxAttributesOfFile {
		return fails(unix.ENOSPC)
	}
	return e.record(f, rec)
}

// mayChange returns an error if the caller may not change an attribute of a file, according
// to xattr(7).
func (e *Emulator) mayChange(c *call, f *file, attr string) error {
	who := e.identities.of(c.tid)
	switch {
	case attr == capabilityXattr && !who.root():
		return unix.EPERM
	case attr == capabilityXattr:
		return nil
	case !f.regular() && !f.dir():
		return unix.EPERM
	case f.dir() && f.mode&unix.S_ISVTX != 0 && !who.owns(f):
		return unix.EPERM
	case !who.may(f, mayWrite):
		return unix.EACCES
	}
	return nil
}

// The forms of capabilities that the kernel accepts (linux/capability.h): revision 2, and
// revision 3 with a root id at the end. A flag says that they are effective.
const (
	capabilityFlag      = 1
	capabilityRevision2 = 0x02000000
	capabilityRevision3 = 0x03000000
	capabilitySize2     = 20
	capabilitySize3     = 24
)

// parseCapability reports whether the kernel accepts a value, and returns how the kernel
// shows it: for user 0 as revision 2.
func parseCapability(value string) (shown string, ok bool) {
	switch {
	case value == "": // the kernel does not check this
		return "", true
	case len(value) < 4:
		return "", false
	}
	magic := binary.LittleEndian.Uint32([]byte(value))
	switch revision := magic &^ capabilityFlag; {
	case revision == capabilityRevision2 && len(value) == capabilitySize2:
		return value, true
	case revision != capabilityRevision3 || len(value) != capabilitySize3:
		return "", false
	}
	switch binary.LittleEndian.Uint32([]byte(value[capabilitySize2:])) {
	case noID:
		return "", false
	case 0:
		plain := binary.LittleEndian.AppendUint32(nil, capabilityRevision2|magic&capabilityFlag)
		return string(plain) + value[len(plain):capabilitySize2], true
	}
	return value, true
}

func (e *Emulator) getAttribute(c *call, f *file, attr string) answer {
	switch who := e.identities.of(c.tid); {
	case isACL(attr) && f.kind() == unix.S_IFLNK:
		return fails(unix.EOPNOTSUPP)
	case isACL(attr) || attr == capabilityXattr:
	case !f.regular() && !f.dir():
		return fails(unix.ENODATA)
	case !who.may(f, mayRead):
		return fails(unix.EACCES)
	}
	value, there := f.rec.xattrs.get(attr)
	if !there {
		return fails(unix.ENODATA)
	}
	return c.give(2, 3, value)
}

func (e *Emulator) listAttributes(c *call, f *file, _ string) answer {
	list, err := growing(func(buf []byte) (int, error) { return unix.Listxattr(openat.Path(f.fd), buf) })
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

// give returns a value like the calls that are first asked for its size.
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

func (e *Emulator) removeAttribute(c *call, f *file, attr string) answer {
	if isACL(attr) {
		return e.setACL(c, f, attr, "")
	}
	if err := e.mayChange(c, f, attr); err != nil {
		return fails(err)
	}
	if !f.rec.xattrs.has(attr) {
		return fails(unix.ENODATA)
	}
	rec := f.rec
	rec.xattrs = rec.xattrs.without(attr)
	return e.record(f, rec)
}

// growing calls a system call with ever larger buffers until the answer fits.
func growing(call func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := call(buf)
		if err != unix.ERANGE {
			return buf[:max(n, 0)], err
		}
	}
}

// capabilityXattr holds a file's capabilities.
const capabilityXattr = tree.CapabilityXattr
