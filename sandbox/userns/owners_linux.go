//go:build amd64 || arm64

package userns

import (
	"golang.org/x/sys/unix"
)

// ownerCalls are those that change owners.
func (e *emulator) ownerCalls() {
	e.calls[unix.SYS_FCHOWN] = func(c *call) answer {
		return e.chown(c, c.fd(0), "", unix.AT_EMPTY_PATH, c.uint32(1), c.uint32(2))
	}
	e.calls[unix.SYS_FCHOWNAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.chown(c, dir, name, c.int(4), c.uint32(2), c.uint32(3))
	})
	e.oldOwnerCalls()
}

// modeCalls are those that change modes.
func (e *emulator) modeCalls() {
	e.oldModeCalls()
	e.calls[unix.SYS_FCHMOD] = func(c *call) answer { return e.chmod(c, c.fd(0), "", unix.AT_EMPTY_PATH, c.uint32(1)) }
	e.calls[unix.SYS_FCHMODAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.chmod(c, dir, name, 0, c.uint32(2))
	})
	e.calls[unix.SYS_FCHMODAT2] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.chmod(c, dir, name, c.int(3), c.uint32(2))
	})
}

// chown records an owner. As in the kernel it clears special modes of files, and
// capabilities.
func (e *emulator) chown(c *call, dirfd int, name string, flags int, uid, gid uint32) answer {
	if flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 {
		return pass
	}
	f, ok := c.open(dirfd, name, flags)
	if !ok {
		return pass
	}
	defer f.close()
	cr := e.identities.of(c.tid)
	if !cr.root() && !mayChown(&cr, &f.rec, uid, gid) {
		return fails(unix.EPERM)
	}
	rec := f.rec
	if uid != noID {
		rec.uid = uid
	}
	if gid != noID {
		rec.gid = gid
	}
	if !f.dir() {
		rec.special &^= unix.S_ISUID
		if f.mode&unix.S_IXGRP != 0 {
			rec.special &^= unix.S_ISGID
		}
		rec.xattrs = rec.xattrs.without(capabilityXattr)
	}
	return e.record(f, rec)
}

// mayChown tells whether a user may change an owner: own files may be given to
// one's own groups.
func mayChown(cr *credentials, rec *record, uid, gid uint32) bool {
	if cr.uid.fs != rec.uid {
		return uid == noID && gid == noID
	}
	return (uid == noID || uid == rec.uid) && (gid == noID || gid == rec.gid || cr.in(gid))
}

// record gives a file another record, and has it be among what has changed.
func (e *emulator) record(f *file, rec record) answer {
	if rec == f.rec {
		return answer{}
	}
	if f.nlink == 0 {
		return answer{} // nobody will see it, and its number is soon another file's
	}
	if err := f.touch(); err != nil {
		return fails(err)
	}
	e.records.set(f.ino, rec)
	return answer{}
}

// chmod sets the permissions on disk and records the rest.
func (e *emulator) chmod(c *call, dirfd int, name string, flags int, mode uint32) answer {
	f, ok := c.open(dirfd, name, flags)
	if !ok {
		return pass
	}
	defer f.close()
	cr := e.identities.of(c.tid)
	if !cr.root() && cr.uid.fs != f.rec.uid {
		return fails(unix.EPERM)
	}
	rec := f.rec
	rec.special = mode & specialBits
	if !cr.root() && !cr.in(rec.gid) {
		rec.special &^= unix.S_ISGID
	}
	if f.mode&unix.S_IFMT == unix.S_IFLNK || rec.special == f.rec.special && mode&specialBits == 0 {
		return pass // there is nothing to record
	}
	if err := unix.Chmod(procFD(f.fd), mode&0o1777); err != nil {
		return fails(err)
	}
	if rec != f.rec && f.nlink > 0 {
		e.records.set(f.ino, rec)
	}
	return answer{}
}
