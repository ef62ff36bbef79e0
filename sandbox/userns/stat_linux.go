//go:build amd64 || arm64

package userns

import (
	"path"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// statCalls are those that tell what a file is like.
func (e *emulator) statCalls() {
	e.oldStatCalls()
	e.calls[unix.SYS_FSTAT] = func(c *call) answer { return e.stat(c, c.fd(0), "", unix.AT_EMPTY_PATH, 1) }
	e.calls[sysFstatat] = at(0, 1, func(c *call, dir int, name string) answer { return e.stat(c, dir, name, c.int(3), 2) })
	e.calls[unix.SYS_STATX] = at(0, 1, func(c *call, dir int, name string) answer { return e.statx(c, dir, name) })
}

// recorded finds the record of the file that a path of the caller's leads to, if
// it has one.
func (c *call) recorded(dirfd int, name string, flags int) (record, bool) {
	base, rest, err := c.base(dirfd, name)
	if err != nil || name == "" && flags&unix.AT_EMPTY_PATH == 0 {
		return record{}, false
	}
	if base != "" && path.IsAbs(rest) || len(rest) > unix.PathMax/2 {
		f, ok := c.open(dirfd, name, flags)
		if !ok {
			return record{}, false
		}
		f.close()
		return f.rec, f.known
	}
	// The short way is good enough where nothing but a number is asked for: what
	// a link in /proc may lead to is not in the tree's mount, or is the same file.
	follow := flags & unix.AT_SYMLINK_NOFOLLOW
	switch {
	case base == "":
	case rest == "":
		rest, follow = base, 0
	default:
		rest = base + "/" + rest
	}
	text, err := unix.BytePtrFromString(rest)
	if err != nil {
		return record{}, false
	}
	// As the most frequent call of all it is made without the scheduler.
	var st unix.Statx_t
	cwd := unix.AT_FDCWD
	_, _, errno := unix.RawSyscall6(unix.SYS_STATX, uintptr(cwd), uintptr(unsafe.Pointer(text)),
		uintptr(follow|unix.AT_STATX_DONT_SYNC), unix.STATX_INO|unix.STATX_MNT_ID, uintptr(unsafe.Pointer(&st)), 0)
	if errno != 0 || st.Mnt_id != c.e.mount {
		return record{}, false
	}
	return c.e.records.get(st.Ino)
}

// stat writes what a file is to be to where argument n points.
func (e *emulator) stat(c *call, dirfd int, name string, flags, n int) answer {
	rec, ok := c.recorded(dirfd, name, flags)
	if !ok {
		return pass
	}
	f, ok := c.open(dirfd, name, flags)
	if !ok {
		return pass
	}
	defer f.close()
	var st unix.Stat_t
	if err := unix.Fstatat(f.fd, "", &st, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fails(err)
	}
	rec = e.shown(rec, st.Uid, st.Gid)
	rec.apply(&st)
	if err := c.write(n, bytesOf(&st)); err != nil {
		return fails(unix.EFAULT)
	}
	return answer{}
}

func (e *emulator) statx(c *call, dirfd int, name string) answer {
	flags, mask := c.int(2), c.int(3)
	rec, ok := c.recorded(dirfd, name, flags)
	if !ok {
		return pass
	}
	f, ok := c.open(dirfd, name, flags)
	if !ok {
		return pass
	}
	defer f.close()
	var st unix.Statx_t
	flags = flags&^(unix.AT_NO_AUTOMOUNT) | unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW
	if err := unix.Statx(f.fd, "", flags, mask, &st); err != nil {
		return fails(err)
	}
	rec = e.shown(rec, st.Uid, st.Gid)
	rec.applyx(&st)
	if err := c.write(4, bytesOf(&st)); err != nil {
		return fails(unix.EFAULT)
	}
	return answer{}
}

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
