//go:build amd64 || arm64

package fakeroot

import (
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// ownerCalls adds the calls that change owners.
func (e *Emulator) ownerCalls() {
	e.calls[unix.SYS_FCHOWN] = func(c *call) answer {
		return e.chown(c, c.fd(0), "", unix.AT_EMPTY_PATH, c.uint32(1), c.uint32(2))
	}
	e.calls[unix.SYS_FCHOWNAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.chown(c, dir, name, c.int(4), c.uint32(2), c.uint32(3))
	})
	e.oldOwnerCalls()
}

// modeCalls adds the calls that change modes.
func (e *Emulator) modeCalls() {
	e.oldModeCalls()
	e.calls[unix.SYS_FCHMOD] = func(c *call) answer { return e.chmod(c, c.fd(0), "", unix.AT_EMPTY_PATH, c.uint32(1)) }
	e.calls[unix.SYS_FCHMODAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.chmod(c, dir, name, 0, c.uint32(2))
	})
	e.calls[unix.SYS_FCHMODAT2] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.chmod(c, dir, name, c.int(3), c.uint32(2))
	})
}

// chown records an owner. Like the kernel it clears special modes of files, and
// capabilities.
func (e *Emulator) chown(c *call, dirfd int, name string, flags int, uid, gid uint32) answer {
	if flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 || !e.fakeRoot && !e.own(uid, gid) {
		return pass
	}
	return c.on(dirfd, name, flags, func(f *file) answer {
		if name == "" && c.number == unix.SYS_FCHOWN && c.onlyPath(dirfd) {
			return fails(unix.EBADF)
		}
		who := e.identities.of(c.tid)
		rec := f.rec
		if !f.dir() {
			rec.special &^= unix.S_ISUID
			if f.mode&unix.S_IXGRP != 0 || !who.overrides() && !who.in(rec.gid) {
				rec.special &^= unix.S_ISGID
			}
			rec.xattrs = rec.xattrs.without(capabilityXattr)
		}
		if !mayChown(&who, f, uid, gid) || rec.special != f.rec.special && !who.owns(f) {
			return fails(unix.EPERM)
		}
		if e.fakeRoot && uid != noID {
			rec.uid = uid
		}
		if e.fakeRoot && gid != noID {
			rec.gid = gid
		}
		return e.record(f, rec)
	})
}

// own reports whether ids are those of a step without fake root.
func (e *Emulator) own(uid, gid uint32) bool {
	return (uid == noID || uid == sandbox.UserID) && (gid == noID || gid == sandbox.UserID)
}

// mayChown reports whether a user may change an owner: users may give their own files to
// their own groups.
func mayChown(who *credentials, f *file, uid, gid uint32) bool {
	switch {
	case who.overrides():
		return true
	case who.uid.fs != f.rec.uid:
		return uid == noID && gid == noID
	}
	return (uid == noID || uid == f.rec.uid) && (gid == noID || gid == f.rec.gid || who.in(gid))
}

// record gives a file another record, and marks it as changed.
func (e *Emulator) record(f *file, rec record) answer {
	if rec == f.rec {
		return answer{}
	}
	if err := f.touch(); err != nil {
		return fails(err)
	}
	return result(e.records.set(f.fd, f.key, rec))
}

// chmod sets the permissions on disk and records the rest.
func (e *Emulator) chmod(c *call, dirfd int, name string, flags int, mode uint32) answer {
	if flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 {
		return fails(unix.EINVAL)
	}
	return c.on(dirfd, name, flags, func(f *file) answer {
		who := e.identities.of(c.tid)
		switch {
		case f.kind() == unix.S_IFLNK:
			return pass // the kernel fails
		case c.number == unix.SYS_FCHMOD && c.onlyPath(dirfd):
			return fails(unix.EBADF)
		case !who.owns(f):
			return fails(unix.EPERM)
		}
		rec := f.rec
		rec.special = mode & specialBits
		if !who.overrides() && !who.in(rec.gid) {
			rec.special &^= unix.S_ISGID
		}
		if list := rec.xattrs.acl(aclAccess); list != nil {
			rec.xattrs = rec.xattrs.with(aclAccess, list.chmod(mode).String())
		}
		if rec == f.rec && mode&specialBits == 0 {
			return pass // there is nothing to record
		}
		if err := unix.Chmod(openat.Path(f.fd), mode&0o1777); err != nil {
			return fails(err)
		}
		if rec.written != byRoot && !e.isWritten(f) {
			rec.written = byRoot
		}
		return result(e.records.set(f.fd, f.key, rec))
	})
}

// isWritten reports whether a file may be open for writing.
func (e *Emulator) isWritten(f *file) bool {
	fd, err := unix.Open(openat.Path(f.fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	// A lease to read is refused while any process may write.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return true
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK) // closing it does the same
	return false
}
