//go:build amd64 || arm64

package userns

import (
	"golang.org/x/sys/unix"
)

// removingCalls are those after which the number of a file may be another's.
func (e *emulator) removingCalls() {
	e.oldRemovingCalls()
	e.calls[unix.SYS_UNLINKAT] = at(0, 1, func(c *call, dir int, name string) answer { return e.unlink(c, dir, name, c.int(2)) })
	e.calls[unix.SYS_RENAMEAT2] = at(2, 3, func(c *call, dir int, name string) answer {
		return e.rename(c, 0, dir, name, uint(c.uint32(4)))
	})
	e.calls[unix.SYS_RENAMEAT] = at(2, 3, func(c *call, dir int, name string) answer { return e.rename(c, 0, dir, name, 0) })
}

// last tells whether the file that a path names has a record, and this is its
// last name.
func (c *call) last(dirfd int, name string) bool {
	if _, ok := c.recorded(dirfd, name, unix.AT_SYMLINK_NOFOLLOW); !ok {
		return false
	}
	f, ok := c.open(dirfd, name, unix.AT_SYMLINK_NOFOLLOW)
	if !ok {
		return false
	}
	defer f.close()
	return f.nlink == 1 || f.dir()
}

// mayRemove tells whether the caller may take a name out of a directory.
func (e *emulator) mayRemove(c *call, dir *file, name string) bool {
	who := e.identities.of(c.tid)
	if who.root() {
		return true
	}
	if !who.may(dir, mayWrite|mayEnter) {
		return false
	}
	if dir.mode&unix.S_ISVTX == 0 || dir.rec.uid == who.uid.fs {
		return true
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return true // there is nothing to be kept from
	}
	rec, _ := e.records.get(st.Ino)
	return rec.uid == who.uid.fs
}

// unlink removes a file that has a record together with that, and keeps files
// from those who may not remove them.
func (e *emulator) unlink(c *call, dirfd int, name string, flags int) answer {
	last := c.last(dirfd, name)
	if !last && !e.identities.changed() {
		return pass
	}
	dir, base, ok := c.parent(dirfd, name)
	if !ok {
		return pass
	}
	defer dir.close()
	if !e.mayRemove(c, dir, base) {
		return fails(unix.EACCES)
	}
	if !last {
		return pass
	}
	var st unix.Stat_t
	err := unix.Fstatat(dir.fd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		err = unix.Unlinkat(dir.fd, base, flags)
	}
	if err != nil {
		return fails(err)
	}
	e.records.forget(st.Ino)
	return answer{}
}

// rename puts a file in the place of one that has a record, and keeps files from
// those who may not move them. The argument from is its old directory.
func (e *emulator) rename(c *call, from, dirfd int, name string, flags uint) answer {
	last := c.last(dirfd, name) && flags&(unix.RENAME_EXCHANGE|unix.RENAME_NOREPLACE) == 0
	if !last && !e.identities.changed() {
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
	source, oldBase, ok := c.parent(oldDir, oldName)
	if !ok {
		return pass
	}
	defer source.close()
	target, base, ok := c.parent(dirfd, name)
	if !ok {
		return pass
	}
	defer target.close()
	if !e.mayRemove(c, source, oldBase) || !e.mayRemove(c, target, base) {
		return fails(unix.EACCES)
	}
	if !last {
		return pass
	}
	return e.replace(source, oldBase, target, base, flags)
}

// replace renames a file, and forgets the one that was in its place.
func (e *emulator) replace(source *file, oldBase string, target *file, base string, flags uint) answer {
	var moved, replaced unix.Stat_t
	if err := unix.Fstatat(source.fd, oldBase, &moved, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fails(err)
	}
	if err := unix.Fstatat(target.fd, base, &replaced, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fails(err)
	}
	if err := unix.Renameat2(source.fd, oldBase, target.fd, base, flags); err != nil {
		return fails(err)
	}
	if moved.Ino != replaced.Ino { // two names of one file stay both
		e.records.forget(replaced.Ino)
	}
	return answer{}
}
