//go:build amd64 || arm64

package userns

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mkdirCalls are those that make directories, which have the set-group-id bit of
// the one that they are made in.
func (e *emulator) mkdirCalls() {
	e.oldMkdirCalls()
	e.calls[unix.SYS_MKDIRAT] = at(0, 1, func(c *call, dir int, name string) answer { return e.mkdir(c, dir, name, c.uint32(2)) })
}

// creatingCalls are those that make other files: who makes them may not be root, their
// directory may have a group for them, and devices cannot be made at all.
func (e *emulator) creatingCalls() {
	e.oldCreatingCalls()
	e.calls[unix.SYS_SYMLINKAT] = at(1, 2, func(c *call, dir int, name string) answer { return e.symlink(c, dir, name) })
	e.calls[unix.SYS_MKNODAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.mknod(c, dir, name, c.uint32(2), c.args[3])
	})
	e.calls[unix.SYS_OPENAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.create(c, dir, name, c.int(2), c.uint32(3))
	})
	e.calls[unix.SYS_OPENAT2] = at(0, 1, func(c *call, dir int, name string) answer {
		var how unix.OpenHow
		buf := bytesOf(&how)
		if n, err := c.read(uintptr(c.args[2]), buf); err != nil || n != len(buf) || c.args[3] != uint64(unsafe.Sizeof(how)) || how.Resolve != 0 {
			return pass
		}
		return e.create(c, dir, name, int(how.Flags), uint32(how.Mode))
	})
}

// maker is one who makes a file in a directory of the tree.
type maker struct {
	c    *call
	who  credentials
	dir  *file
	name string
	rec  record
}

// maker finds out what the owner of a new file is. It is nil where that, and
// making it, can be left to the kernel, or where a is the answer.
func (e *emulator) maker(c *call, dirfd int, name string, always bool) (m *maker, a answer) {
	if !always && !e.identities.changed() && !e.records.inherits() {
		return nil, pass
	}
	dir, last, ok := c.parent(dirfd, name)
	if !ok {
		return nil, pass
	}
	m = &maker{c: c, who: e.identities.of(c.tid), dir: dir, name: last}
	m.rec = record{uid: m.who.uid.fs, gid: m.who.gid.fs}
	inherited := dir.rec.special&unix.S_ISGID != 0
	if inherited && e.scope == everything {
		m.rec.gid = dir.rec.gid
	}
	switch {
	case !m.who.may(dir, mayWrite|mayEnter):
		a = fails(unix.EACCES)
	case always || inherited || m.rec != (record{}):
		return m, answer{}
	default:
		a = pass
	}
	dir.close()
	return nil, a
}

// done notes the owner of what was made, unless that failed, and ends the work.
func (m *maker) done(err error) answer {
	defer m.dir.close()
	if err != nil {
		return fails(err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(m.dir.fd, m.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fails(err)
	}
	m.c.e.records.set(st.Ino, m.rec)
	return answer{}
}

func (e *emulator) mkdir(c *call, dirfd int, name string, mode uint32) answer {
	m, a := e.maker(c, dirfd, name, false)
	if m == nil {
		return a
	}
	m.rec.special = m.dir.rec.special & unix.S_ISGID
	return m.done(unix.Mkdirat(m.dir.fd, m.name, mode&^c.umask()&0o1777))
}

func (e *emulator) symlink(c *call, dirfd int, name string) answer {
	target, err := c.text(0)
	if err != nil || strings.HasSuffix(name, "/") {
		return pass
	}
	m, a := e.maker(c, dirfd, name, false)
	if m == nil {
		return a
	}
	return m.done(unix.Symlinkat(target, m.dir.fd, m.name))
}

func (e *emulator) mknod(c *call, dirfd int, name string, mode uint32, rdev uint64) answer {
	kind := mode & unix.S_IFMT
	device := kind == unix.S_IFCHR || kind == unix.S_IFBLK
	if strings.HasSuffix(name, "/") {
		return pass
	}
	if who := e.identities.of(c.tid); device && !who.root() {
		return fails(unix.EPERM)
	}
	m, a := e.maker(c, dirfd, name, device)
	if m == nil {
		return a
	}
	if device {
		m.rec.kind, m.rec.rdev = kind, uint64(uint32(rdev))
		kind = unix.S_IFREG
	}
	return m.done(unix.Mknodat(m.dir.fd, m.name, kind|mode&^c.umask()&0o777, 0))
}

// create opens a file that is not there yet, or that the caller may not open.
func (e *emulator) create(c *call, dirfd int, name string, flags int, mode uint32) answer {
	if flags&(unix.O_PATH|unix.O_DIRECTORY) != 0 || strings.HasSuffix(name, "/") {
		return pass
	}
	if flags&unix.O_CREAT == 0 {
		return e.mayOpen(c, dirfd, name, flags)
	}
	m, a := e.maker(c, dirfd, name, false)
	if m == nil {
		if a.errno == unix.EACCES { // which does not count for a file that is there
			if f, there := c.open(dirfd, name, 0); there {
				f.close()
				return e.mayOpen(c, dirfd, name, flags)
			}
		}
		return a
	}
	m.rec.special = mode & specialBits
	if !m.who.root() && !m.who.in(m.rec.gid) {
		m.rec.special &^= unix.S_ISGID
	}
	if c.traced { // by a tracer, who can put no file among the caller's
		var st unix.Stat_t
		if unix.Fstatat(m.dir.fd, m.name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			return answer{pass: true, made: m}
		}
		m.dir.close()
		return e.mayOpen(c, dirfd, name, flags)
	}
	fd, err := unix.Openat(m.dir.fd, m.name, flags|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY, mode&^c.umask()&0o1777)
	if err == unix.EEXIST {
		m.dir.close()
		return e.mayOpen(c, dirfd, name, flags)
	}
	a = m.done(err)
	if err == nil {
		a.file = &newFile{fd, flags&unix.O_CLOEXEC != 0}
	}
	return a
}

// mayOpen lets the kernel open a file unless its owner keeps it from the
// caller.
func (e *emulator) mayOpen(c *call, dirfd int, name string, flags int) answer {
	if !e.identities.changed() {
		return pass
	}
	who := e.identities.of(c.tid)
	if who.root() {
		return pass
	}
	f, ok := c.open(dirfd, name, 0)
	if !ok {
		return pass
	}
	defer f.close()
	what := uint32(mayRead)
	switch flags & unix.O_ACCMODE {
	case unix.O_WRONLY:
		what = mayWrite
	case unix.O_RDWR:
		what = mayRead | mayWrite
	}
	if !who.may(f, what) {
		return fails(unix.EACCES)
	}
	return pass
}
