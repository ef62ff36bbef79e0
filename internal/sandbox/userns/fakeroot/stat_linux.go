//go:build amd64 || arm64

package fakeroot

import "golang.org/x/sys/unix"

// statCalls adds the calls that describe files.
func (e *Emulator) statCalls() {
	e.oldStatCalls()
	e.calls[unix.SYS_FSTAT] = func(c *call) answer { return e.stat(c, c.fd(0), "", unix.AT_EMPTY_PATH, 1) }
	e.calls[sysFstatat] = at(0, 1, func(c *call, dir int, name string) answer { return e.stat(c, dir, name, c.int(3), 2) })
	e.calls[unix.SYS_STATX] = at(0, 1, func(c *call, dir int, name string) answer { return e.statx(c, dir, name) })
}

// stat writes what a file is to be to the address in argument n.
func (e *Emulator) stat(c *call, dirfd int, name string, flags, n int) answer {
	return c.on(dirfd, name, flags, func(f *file) answer {
		if f.rec == (record{}) {
			return pass
		}
		var st unix.Stat_t
		if err := unix.Fstatat(f.fd, "", &st, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fails(err)
		}
		rec := e.shown(f.rec, st.Uid, st.Gid)
		rec.apply(&st)
		if err := c.write(n, bytesOf(&st)); err != nil {
			return fails(unix.EFAULT)
		}
		return answer{}
	})
}

func (e *Emulator) statx(c *call, dirfd int, name string) answer {
	flags, mask := c.int(2), c.int(3)
	return c.on(dirfd, name, flags, func(f *file) answer {
		if f.rec == (record{}) {
			return pass
		}
		var st unix.Statx_t
		flags := flags&^(unix.AT_NO_AUTOMOUNT) | unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW
		if err := unix.Statx(f.fd, "", flags, mask, &st); err != nil {
			return fails(err)
		}
		rec := e.shown(f.rec, st.Uid, st.Gid)
		rec.applyx(&st)
		if err := c.write(4, bytesOf(&st)); err != nil {
			return fails(unix.EFAULT)
		}
		return answer{}
	})
}
