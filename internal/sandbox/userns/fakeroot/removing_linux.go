//go:build amd64 || arm64

package fakeroot

import (
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// removingCalls adds the calls that remove or change the names of files.
func (e *Emulator) removingCalls() {
	e.oldRemovingCalls()
	e.calls[unix.SYS_UNLINKAT] = at(0, 1, func(c *call, dir int, name string) answer { return e.unlink(c, dir, name, c.int(2)) })
	e.calls[unix.SYS_LINKAT] = at(0, 1, func(c *call, dir int, name string) answer {
		return e.link(c, dir, name, c.fd(2), 3, c.int(4))
	})
	e.calls[unix.SYS_RENAMEAT2] = at(2, 3, func(c *call, dir int, name string) answer {
		return e.rename(c, 0, dir, name, uint(c.uint32(4)))
	})
	e.calls[unix.SYS_RENAMEAT] = at(2, 3, func(c *call, dir int, name string) answer { return e.rename(c, 0, dir, name, 0) })
}

// named finds the directory of a name, and the file that it names.
func (c *call) named(dirfd int, name string) (place, error) {
	dir, last, err := c.parent(dirfd, name)
	if err != nil {
		return place{}, err
	}
	p := place{dir: dir, name: last}
	p.file, err = c.e.child(dir, last)
	if err != nil && err != unix.ENOENT {
		dir.close()
		return place{}, err
	}
	return p, nil
}

// mayRemove returns an error if the caller may not remove a name from a directory.
func (p *place) mayRemove(who *credentials) error {
	switch {
	case who.overrides():
	case !who.may(p.dir, mayWrite|mayEnter):
		return unix.EACCES
	case p.dir.mode&unix.S_ISVTX != 0 && p.file != nil && !who.owns(p.dir) && !who.owns(p.file):
		return unix.EPERM
	}
	return nil
}

// last reports whether this is the last name of a file, and only we can find out who had
// the file's number.
func (p *place) last(e *Emulator) bool {
	return p.file != nil && (p.file.nlink == 1 || p.file.dir()) && !e.distinct
}

// simple reports whether the kernel can remove names without us.
func (e *Emulator) simple(who *credentials) bool { return who.overrides() && e.distinct }

// unlink keeps callers from removing files that they may not remove.
func (e *Emulator) unlink(c *call, dirfd int, name string, flags int) answer {
	who := e.identities.of(c.tid)
	if e.simple(&who) {
		return pass
	}
	p, err := c.named(dirfd, name)
	if err != nil {
		return c.lost(err)
	}
	defer p.close()
	if p.file == nil {
		return pass
	}
	if err := p.mayRemove(&who); err != nil {
		return fails(err)
	}
	if !p.last(e) {
		return pass
	}
	if err := unix.Unlinkat(p.dir.fd, p.name, flags); err != nil {
		return fails(err)
	}
	e.records.forget(p.file.key)
	return answer{}
}

// rename keeps callers from moving files that they may not move. The argument from is the
// old directory.
func (e *Emulator) rename(c *call, from, dirfd int, name string, flags uint) answer {
	who := e.identities.of(c.tid)
	if e.simple(&who) {
		return pass
	}
	oldDir := unix.AT_FDCWD
	if from >= 0 {
		oldDir = c.fd(from)
	}
	oldName, err := c.text(from + 1)
	if err != nil {
		return pass
	}
	source, err := c.named(oldDir, oldName)
	if err != nil && err != errNoName { // matters only if the other path can be resolved
		return c.lost(err)
	}
	defer source.close()
	target, targetErr := c.named(dirfd, name)
	if targetErr != nil {
		err = targetErr
	}
	if err != nil {
		return c.lost(err)
	}
	defer target.close()
	if source.file == nil || target.file == nil && flags&unix.RENAME_EXCHANGE != 0 {
		return pass // the kernel fails
	}
	if err := mayRename(&who, &source, &target, flags); err != nil && !e.impossible(&source, &target) {
		return fails(err)
	}
	if flags != 0 || !target.last(e) || source.file.key == target.file.key {
		return pass
	}
	if err := unix.Renameat2(source.dir.fd, source.name, target.dir.fd, target.name, flags); err != nil {
		return fails(err)
	}
	e.records.forget(target.file.key)
	return answer{}
}

func mayRename(who *credentials, source, target *place, flags uint) error {
	if target.file != nil && (flags&unix.RENAME_NOREPLACE != 0 || source.file.key == target.file.key) {
		return nil // fails anyway, or does nothing
	}
	for _, p := range []*place{source, target} {
		if err := p.mayRemove(who); err != nil {
			return err
		}
	}
	// A directory's ".." changes with its parent.
	if source.dir.key != target.dir.key {
		for _, p := range []*place{source, target} {
			moves := p == source || flags&unix.RENAME_EXCHANGE != 0
			if moves && p.file != nil && p.file.dir() && !who.may(p.file, mayWrite) {
				return unix.EACCES
			}
		}
	}
	return nil
}

// impossible reports whether one of two places is within what is to be moved to the other:
// the kernel reports that error first.
func (e *Emulator) impossible(source, target *place) bool {
	return source.file.dir() && e.within(target.dir, source.file) || target.file != nil && target.file.dir() && e.within(source.dir, target.file)
}

// within reports whether dir is other, or below it.
func (e *Emulator) within(dir, other *file) bool {
	name := "."
	for at := dir.fd; ; name = ".." {
		fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if at != dir.fd {
			unix.Close(at)
		}
		if err != nil {
			return false
		}
		var st, up unix.Stat_t
		err = unix.Fstat(fd, &st)
		same := key{st.Dev, st.Ino} == other.key
		if err == nil {
			err = unix.Fstatat(fd, "..", &up, 0)
		}
		if same || err != nil || up.Ino == st.Ino && up.Dev == st.Dev {
			unix.Close(fd)
			return same
		}
		at = fd
	}
}

// link keeps callers that are not root from giving files names that they may not give. The
// argument target is the new name.
func (e *Emulator) link(c *call, olddir int, oldname string, dirfd, target, flags int) answer {
	who := e.identities.of(c.tid)
	nameless := oldname == "" && flags&unix.AT_EMPTY_PATH != 0
	if who.overrides() && !nameless {
		return pass
	}
	name, err := c.text(target)
	if err != nil {
		return pass
	}
	follow := unix.AT_SYMLINK_NOFOLLOW
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		follow = 0
	}
	f, err := c.find(olddir, oldname, follow|flags&unix.AT_EMPTY_PATH)
	if err != nil {
		return c.lost(err)
	}
	defer f.close()
	// A process that has opened a file may give it a name, and for the kernel that may be
	// us.
	if nameless && f.rec.written != byRoot && who.uid.fs != f.rec.uid {
		return fails(unix.ENOENT)
	}
	p, err := c.named(dirfd, name)
	switch {
	case nameless && err == errNoName:
		return fails(unix.EEXIST)
	case nameless && err != nil && err != errDenied:
		return fails(err)
	case err != nil:
		return c.lost(err)
	}
	defer p.close()
	switch {
	case nameless && p.file != nil:
		return fails(unix.EEXIST)
	case p.file != nil: // fails anyway
		return pass
	case !who.mayLink(f):
		return fails(unix.EPERM)
	case !who.may(p.dir, mayWrite|mayEnter):
		return fails(unix.EACCES)
	case nameless:
		return result(unix.Linkat(unix.AT_FDCWD, openat.Path(f.fd), p.dir.fd, p.name, unix.AT_SYMLINK_FOLLOW))
	}
	return pass
}

// mayLink reports whether a file may get another name, by the rule of
// fs.protected_hardlinks (proc_sys_fs(5)).
func (c *credentials) mayLink(f *file) bool {
	special := f.rec.special&unix.S_ISUID != 0 || f.rec.special&unix.S_ISGID != 0 && f.mode&unix.S_IXGRP != 0
	return c.owns(f) || f.regular() && !special && c.may(f, mayRead|mayWrite)
}
