package userns

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_NEWFSTATAT

// openFlags is which argument of a call has the flags of open(2), or -1.
func openFlags(number uint32) int {
	switch number {
	case unix.SYS_OPEN:
		return 1
	case unix.SYS_OPENAT:
		return 2
	}
	return -1
}

// oldModeCalls adds the calls that set modes which later architectures do without.
func oldModeCalls(calls map[uint32]int) { calls[unix.SYS_CHMOD] = 1 }

func (e *emulator) oldDeviceCalls() {
	e.calls[unix.SYS_MKNOD] = at(here, 0, func(c *call, dir int, name string) answer {
		return e.mkdevice(c, dir, name, c.uint32(1), c.args[2])
	})
}

// The old calls are those that later architectures do without.

func (e *emulator) oldOwnerCalls() {
	owner := func(flags int) func(*call) answer {
		return at(here, 0, func(c *call, dir int, name string) answer {
			return e.chown(c, dir, name, flags, c.uint32(1), c.uint32(2))
		})
	}
	e.calls[unix.SYS_CHOWN] = owner(0)
	e.calls[unix.SYS_LCHOWN] = owner(unix.AT_SYMLINK_NOFOLLOW)
}

func (e *emulator) oldModeCalls() {
	e.calls[unix.SYS_CHMOD] = at(here, 0, func(c *call, dir int, name string) answer { return e.chmod(c, dir, name, 0, c.uint32(1)) })
}

func (e *emulator) oldStatCalls() {
	e.calls[unix.SYS_STAT] = at(here, 0, func(c *call, dir int, name string) answer { return e.stat(c, dir, name, 0, 1) })
	e.calls[unix.SYS_LSTAT] = at(here, 0, func(c *call, dir int, name string) answer {
		return e.stat(c, dir, name, unix.AT_SYMLINK_NOFOLLOW, 1)
	})
}

func (e *emulator) oldMkdirCalls() {
	e.calls[unix.SYS_MKDIR] = at(here, 0, func(c *call, dir int, name string) answer { return e.mkdir(c, dir, name, c.uint32(1)) })
}

func (e *emulator) oldCreatingCalls() {
	e.calls[unix.SYS_SYMLINK] = at(here, 1, func(c *call, dir int, name string) answer { return e.symlink(c, dir, name) })
	e.calls[unix.SYS_MKNOD] = at(here, 0, func(c *call, dir int, name string) answer {
		return e.mknod(c, dir, name, c.uint32(1), c.args[2])
	})
	e.calls[unix.SYS_OPEN] = at(here, 0, func(c *call, dir int, name string) answer { return e.create(c, dir, name, c.int(1), c.uint32(2)) })
	e.calls[unix.SYS_CREAT] = at(here, 0, func(c *call, dir int, name string) answer {
		return e.create(c, dir, name, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, c.uint32(1))
	})
}

func (e *emulator) oldRemovingCalls() {
	e.calls[unix.SYS_UNLINK] = at(here, 0, func(c *call, dir int, name string) answer { return e.unlink(c, dir, name, 0) })
	e.calls[unix.SYS_RMDIR] = at(here, 0, func(c *call, dir int, name string) answer { return e.unlink(c, dir, name, unix.AT_REMOVEDIR) })
	e.calls[unix.SYS_RENAME] = at(here, 1, func(c *call, dir int, name string) answer { return e.rename(c, here, dir, name, 0) })
}

// filesArgument is which argument of a call, from 1 on, says for how many files it
// waits, or 0.
func filesArgument(number int) int {
	switch number {
	case unix.SYS_POLL, unix.SYS_PPOLL:
		return 2
	case unix.SYS_SELECT, unix.SYS_PSELECT6:
		return 1
	}
	return 0
}
