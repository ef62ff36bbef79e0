package fakeroot

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_NEWFSTATAT

// oldModeCalls adds the calls that set modes and do not exist on later architectures.
func oldModeCalls(calls map[uint32]int) { calls[unix.SYS_CHMOD] = 1 }

// The old calls do not exist on later architectures.

func (e *Emulator) oldOwnerCalls() {
	owner := func(flags int) func(*call) answer {
		return at(here, 0, func(c *call, dir int, name string) answer {
			return e.chown(c, dir, name, flags, c.uint32(1), c.uint32(2))
		})
	}
	e.calls[unix.SYS_CHOWN] = owner(0)
	e.calls[unix.SYS_LCHOWN] = owner(unix.AT_SYMLINK_NOFOLLOW)
}

func (e *Emulator) oldModeCalls() {
	e.calls[unix.SYS_CHMOD] = at(here, 0, func(c *call, dir int, name string) answer { return e.chmod(c, dir, name, 0, c.uint32(1)) })
}

func (e *Emulator) oldStatCalls() {
	e.calls[unix.SYS_STAT] = at(here, 0, func(c *call, dir int, name string) answer { return e.stat(c, dir, name, 0, 1) })
	e.calls[unix.SYS_LSTAT] = at(here, 0, func(c *call, dir int, name string) answer {
		return e.stat(c, dir, name, unix.AT_SYMLINK_NOFOLLOW, 1)
	})
}

func (e *Emulator) oldCreatingCalls() {
	e.calls[unix.SYS_MKDIR] = at(here, 0, func(c *call, dir int, name string) answer { return e.mkdir(c, dir, name, c.uint32(1)) })
	e.calls[unix.SYS_SYMLINK] = at(here, 1, func(c *call, dir int, name string) answer { return e.symlink(c, dir, name) })
	e.calls[unix.SYS_MKNOD] = at(here, 0, func(c *call, dir int, name string) answer {
		return e.mknod(c, dir, name, c.uint32(1), c.args[2])
	})
}

func (e *Emulator) oldOpeningCalls() {
	e.calls[unix.SYS_OPEN] = at(here, 0, func(c *call, dir int, name string) answer {
		return e.open(c, dir, name, &unix.OpenHow{Flags: uint64(c.uint32(1)), Mode: uint64(c.uint32(2))})
	})
	e.calls[unix.SYS_CREAT] = at(here, 0, func(c *call, dir int, name string) answer {
		return e.open(c, dir, name, &unix.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, Mode: uint64(c.uint32(1))})
	})
}

func (e *Emulator) oldRemovingCalls() {
	e.calls[unix.SYS_UNLINK] = at(here, 0, func(c *call, dir int, name string) answer { return e.unlink(c, dir, name, 0) })
	e.calls[unix.SYS_RMDIR] = at(here, 0, func(c *call, dir int, name string) answer { return e.unlink(c, dir, name, unix.AT_REMOVEDIR) })
	e.calls[unix.SYS_RENAME] = at(here, 1, func(c *call, dir int, name string) answer { return e.rename(c, here, dir, name, 0) })
	e.calls[unix.SYS_LINK] = at(here, 0, func(c *call, dir int, name string) answer { return e.link(c, dir, name, dir, 1, 0) })
}

// oldNamingCalls returns the calls that give a file another name, with their arguments for
// the old and the new name.
func oldNamingCalls() map[uint32][2]int {
	return map[uint32][2]int{unix.SYS_RENAME: {0, 1}, unix.SYS_LINK: {0, 1}}
}

func (e *Emulator) oldPermissionCalls() {
	e.calls[unix.SYS_ACCESS] = func(c *call) answer { return e.access(c, unix.AT_FDCWD, 0, c.uint32(1), 0) }
	e.calls[unix.SYS_READLINK] = func(c *call) answer { return e.readlink(c, unix.AT_FDCWD, 0) }
	e.calls[unix.SYS_UTIME] = func(c *call) answer { return e.setTimes(c, unix.AT_FDCWD, 0, c.oldTimes(1), 0) }
	e.calls[unix.SYS_UTIMES] = func(c *call) answer { return e.setTimes(c, unix.AT_FDCWD, 0, c.oldTimes(1), 0) }
	e.calls[unix.SYS_FUTIMESAT] = func(c *call) answer { return e.setTimes(c, c.fd(0), 1, c.oldTimes(2), 0) }
}
