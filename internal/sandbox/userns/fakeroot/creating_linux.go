//go:build amd64 || arm64

package fakeroot

import (
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// creatingCalls adds the calls that make files: the caller may not be root, the directory
// may have a group or an access control list to hand on, and devices cannot be made at all.
func (e *Emulator) creatingCalls() {
	e.oldCreatingCalls()
	e.calls[unix.SYS_MKDIRAT] = at(0, 1, func(c *call, dir int, name string) answer { return e.mkdir(c, dir, name, c.uint32(2)) })
	e.calls[unix.SYS_SYMLINKAT] = at(1, 2, func(c *call, dir int, name string) answer { return e.symlink(c, dir, name) })
	e.calls[unix.SYS_MKNODAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.mknod(c, dir, name, c.uint32(2), c.args[3])
	})
	e.calls[unix.SYS_BIND] = e.bind
	e.calls[unix.SYS_CONNECT] = e.connect
}

// maker describes who makes a file in a directory of ours, and what it becomes. The maker
// has to close the directory.
type maker struct {
	e    *Emulator
	who  credentials
	dir  *file
	name string
	rec  record
	// mode is the file's mode on disk: permissions and the sticky bit.
	mode uint32
}

// ordinary reports whether the kernel makes a new file just as it has to be: root's, in a
// directory that has nothing to hand on.
func (e *Emulator) ordinary(c *call, mode uint32) bool {
	who := e.identities.of(c.tid)
	return who.overrides() && who.uid.fs == 0 && who.gid.fs == 0 && !e.records.inherits() && mode&specialBits == 0
}

// newMaker finds out what a new file will be, or why it cannot be made.
func (e *Emulator) newMaker(c *call, dir *file, name string, kind, mode uint32) (*maker, error) {
	m := &maker{e: e, who: e.identities.of(c.tid), dir: dir, name: name}
	if !m.who.may(dir, mayWrite|mayEnter) {
		return nil, unix.EACCES
	}
	if e.fakeRoot {
		m.rec.uid, m.rec.gid = m.who.uid.fs, m.who.gid.fs
	}
	m.rec.special = mode & specialBits
	list := dir.rec.xattrs.acl(aclDefault)
	switch {
	case kind == unix.S_IFLNK:
		m.mode, m.rec.special = 0o777, 0
	case list == nil:
		m.mode = mode & 0o1777 &^ c.umask()
	default:
		list = list.create(mode)
		m.mode = mode&unix.S_ISVTX | list.mode()
		m.rec.xattrs = m.handOn(dir, kind, list)
	}
	if dir.rec.special&unix.S_ISGID != 0 {
		m.inherit(kind, mode)
	}
	// The special bits of a mode do not apply to directories.
	return m, nil
}

// handOn returns the lists that a file gets in a directory with a default list.
func (m *maker) handOn(dir *file, kind uint32, list acl) (x xattrSet) {
	if !list.plain() {
		x = x.with(aclAccess, list.String())
	}
	if kind == unix.S_IFDIR {
		text, _ := dir.rec.xattrs.get(aclDefault)
		x = x.with(aclDefault, text)
	}
	return x
}

// inherit takes over the group of the directory, as its set-group-id bit says. mode is the
// mode asked for, before it is masked.
func (m *maker) inherit(kind, mode uint32) {
	if m.e.fakeRoot {
		m.rec.gid = m.dir.rec.gid
	}
	switch {
	case kind == unix.S_IFDIR:
		m.rec.special |= unix.S_ISGID
	case mode&unix.S_IXGRP != 0 && !m.who.overrides() && !m.who.in(m.rec.gid):
		m.rec.special &^= unix.S_ISGID
	}
}

// done notes what was made, unless that failed.
func (m *maker) done(err error) answer {
	if err != nil {
		return fails(err)
	}
	f, err := m.e.child(m.dir, m.name)
	if err != nil {
		return fails(err)
	}
	defer f.close()
	return m.note(f)
}

// note gives a file the attributes that it should have: the ones it was made with may have
// been masked.
func (m *maker) note(f *file) answer {
	if f.kind() != unix.S_IFLNK && f.mode&0o7777 != m.mode {
		if err := unix.Chmod(openat.Path(f.fd), m.mode); err != nil {
			return fails(err)
		}
	}
	return result(m.e.records.set(f.fd, f.key, m.rec))
}

// make makes a file of a kind with a call that does not return an open file, unless the
// kernel can do so by itself.
func (e *Emulator) make(c *call, dirfd int, name string, kind, mode uint32, do func(m *maker) error) answer {
	if e.ordinary(c, mode) && kind != unix.S_IFCHR && kind != unix.S_IFBLK {
		return pass
	}
	dir, last, err := c.parent(dirfd, name)
	if err != nil {
		return c.lost(err)
	}
	defer dir.close()
	if there, err := e.child(dir, last); err == nil {
		there.close()
		return fails(unix.EEXIST)
	}
	m, err := e.newMaker(c, dir, last, kind, mode)
	if err != nil {
		return fails(err)
	}
	if !m.who.overrides() && (kind == unix.S_IFCHR || kind == unix.S_IFBLK) {
		return fails(unix.EPERM)
	}
	return m.done(do(m))
}

func (e *Emulator) mkdir(c *call, dirfd int, name string, mode uint32) answer {
	return e.make(c, dirfd, name, unix.S_IFDIR, mode&0o1777, func(m *maker) error {
		return unix.Mkdirat(m.dir.fd, m.name, m.mode)
	})
}

func (e *Emulator) symlink(c *call, dirfd int, name string) answer {
	target, err := c.text(0)
	if err != nil || strings.HasSuffix(name, "/") {
		return pass
	}
	e.links.note(name, target)
	return e.make(c, dirfd, name, unix.S_IFLNK, 0, func(m *maker) error {
		return unix.Symlinkat(target, m.dir.fd, m.name)
	})
}

func (e *Emulator) mknod(c *call, dirfd int, name string, mode uint32, rdev uint64) answer {
	kind := mode & unix.S_IFMT
	device := kind == unix.S_IFCHR || kind == unix.S_IFBLK
	rdev = uint64(uint32(rdev))
	if device && (!e.fakeRoot || kind == unix.S_IFCHR && rdev == 0) || strings.HasSuffix(name, "/") {
		return pass
	}
	if kind == 0 {
		kind = unix.S_IFREG
	}
	return e.make(c, dirfd, name, kind, mode&^unix.S_IFMT, func(m *maker) error {
		if device {
			m.rec.kind, m.rec.rdev = kind, rdev
			kind = unix.S_IFREG // a regular file stands for it
		}
		return unix.Mknodat(m.dir.fd, m.name, kind|m.mode, 0)
	})
}

// socketName returns the path in a socket's address: the argument n of a call, with its
// length in the next one.
func (c *call) socketName(n int) (name string, address []byte) {
	var a unix.RawSockaddrUnix
	buf := bytesOf(&a)
	buf = buf[:min(len(buf), int(c.uint32(n+1)))]
	if got, err := c.read(uintptr(c.args[n]), buf); err != nil || got != len(buf) || got <= 2 || a.Family != unix.AF_UNIX {
		return "", nil
	}
	name, _, _ = strings.Cut(string(buf[2:]), "\x00")
	return name, buf // without a path it is not in the file system
}

// connect keeps callers that are not root from sockets that they may not write to.
func (e *Emulator) connect(c *call) answer {
	who := e.identities.of(c.tid)
	if who.overrides() {
		return pass
	}
	name, _ := c.socketName(1)
	if name == "" {
		return pass
	}
	f, err := c.find(unix.AT_FDCWD, name, 0)
	if err != nil {
		return c.lost(err)
	}
	defer f.close()
	if !who.may(f, mayWrite) {
		return fails(unix.EACCES)
	}
	return pass
}

// bind makes a socket that has a name in the file system (unix(7)).
func (e *Emulator) bind(c *call) answer {
	if e.ordinary(c, 0) {
		return pass
	}
	name, address := c.socketName(1)
	if name == "" {
		return pass
	}
	a := e.make(c, unix.AT_FDCWD, name, unix.S_IFSOCK, 0o777&^c.umask(), func(*maker) error {
		socket, err := c.copyOf(c.fd(0))
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		return c.bindThere(socket, address)
	})
	if a.errno == unix.EEXIST {
		a.errno = unix.EADDRINUSE
	}
	return a
}

// bindThere binds a socket to an address as the caller would, so that its name is the one
// that the caller knows.
func (c *call) bindThere(socket int, address []byte) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: its directories are the caller's
		if err := c.moveThere(); err != nil {
			done <- err
			return
		}
		_, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(socket), uintptr(unsafe.Pointer(&address[0])), uintptr(len(address)))
		if e != 0 {
			done <- e
			return
		}
		done <- nil
	}()
	return <-done
}

// moveThere gives the calling thread the caller's directories and file mask.
func (c *call) moveThere() error {
	mask := c.umask()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	unix.Umask(int(mask))
	cwd, err := unix.Open(c.proc("cwd"), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(cwd)
	if c.e.chrooted.Load() {
		if err := unix.Chroot(c.proc("root")); err != nil {
			return err
		}
	}
	return unix.Fchdir(cwd)
}

// copyOf returns a copy of an open file of the caller's.
func (c *call) copyOf(fd int) (int, error) {
	pid, err := strconv.Atoi(c.process())
	if err != nil {
		return -1, unix.ESRCH
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(process)
	return unix.PidfdGetfd(process, fd, 0)
}
