//go:build amd64 || arm64

package fakeroot

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// For the kernel every process of a step may do with files what root may. So these handlers
// deny calls to processes that have become another user; the kernel does the rest.
func (e *Emulator) permissionCalls() {
	e.oldPermissionCalls()
	follow := func(dir, name int, what uint32) answerer { return e.may(dir, name, 0, what, nil) }
	e.calls[unix.SYS_CHDIR] = follow(here, 0, mayEnter)
	e.calls[unix.SYS_FCHDIR] = e.may(0, none, unix.AT_EMPTY_PATH, mayEnter, nil)
	e.calls[unix.SYS_STATFS] = follow(here, 0, 0)
	e.calls[unix.SYS_TRUNCATE] = e.may(here, 0, 0, mayWrite, e.noteWriter)
	e.calls[unix.SYS_INOTIFY_ADD_WATCH] = follow(here, 1, mayRead)
	e.calls[unix.SYS_READLINKAT] = func(c *call) answer { return e.readlink(c, c.fd(0), 1) }
	e.calls[unix.SYS_EXECVE] = func(c *call) answer { return e.execute(c, unix.AT_FDCWD, 0, 0) }
	e.calls[unix.SYS_EXECVEAT] = func(c *call) answer { return e.execute(c, c.fd(0), 1, c.int(4)) }
	e.calls[unix.SYS_FACCESSAT] = func(c *call) answer { return e.access(c, c.fd(0), 1, c.uint32(2), 0) }
	e.calls[unix.SYS_FACCESSAT2] = func(c *call) answer { return e.access(c, c.fd(0), 1, c.uint32(2), c.int(3)) }
	e.calls[unix.SYS_UTIMENSAT] = func(c *call) answer { return e.setTimes(c, c.fd(0), 1, c.times(2), c.int(3)) }
	e.calls[unix.SYS_CHROOT] = e.chroot
}

// chroot answers chroot(2), which is for root alone.
func (e *Emulator) chroot(c *call) answer {
	who := e.identities.of(c.tid)
	e.chrooted.Store(true)
	if who.root() && who.overrides() {
		return pass
	}
	return e.permit(c, unix.AT_FDCWD, 0, 0, func(f *file) answer {
		switch {
		case !f.dir():
			return fails(unix.ENOTDIR)
		case !who.may(f, mayEnter):
			return fails(unix.EACCES)
		case !who.root():
			return fails(unix.EPERM)
		}
		return pass
	})
}

type answerer = func(*call) answer

// none says that a call does not have a path.
const none = -1

// may makes a handler that passes a call whose caller may do something with the file that
// the call is about. then, unless nil, is told who did.
func (e *Emulator) may(dirfd, name, flags int, what uint32, then func(*credentials, *file) answer) answerer {
	return func(c *call) answer {
		who := e.identities.of(c.tid)
		if who.overrides() && then == nil {
			return pass
		}
		dir := unix.AT_FDCWD
		if dirfd != here {
			dir = c.fd(dirfd)
		}
		return e.permit(c, dir, name, flags, func(f *file) answer {
			switch {
			case then != nil && f.rec.kind != 0:
				return fails(unix.EINVAL)
			case then != nil && !f.regular(), what == mayEnter && !f.dir():
				return pass // the kernel fails
			case !who.may(f, what):
				return fails(unix.EACCES)
			case then != nil && f.ours:
				return then(&who, f)
			}
			return pass
		})
	}
}

// readlink answers readlink(2): links of /proc reveal their target only where they belong
// to the caller's process.
func (e *Emulator) readlink(c *call, dirfd, name int) answer {
	if who := e.identities.of(c.tid); who.overrides() {
		return pass
	}
	return e.permit(c, dirfd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH, func(f *file) answer {
		if f.mount == e.proc && f.kind() == unix.S_IFLNK {
			of := processOf(f.fd)
			if of != "" && of != c.process() {
				return fails(unix.EACCES)
			}
		}
		return pass
	})
}

// permit finds the file whose path is that argument of a call, and asks whether the call
// may go on.
func (e *Emulator) permit(c *call, dirfd, name, flags int, ask func(*file) answer) answer {
	text := ""
	if name != none && c.args[name] != 0 {
		var err error
		if text, err = c.text(name); err != nil {
			return pass
		}
	} else {
		flags |= unix.AT_EMPTY_PATH
	}
	f, err := c.find(dirfd, text, flags)
	if err != nil {
		return c.lost(err)
	}
	defer f.close()
	return ask(f)
}

// access answers access(2) and its variants, which check the real user unless told
// otherwise.
func (e *Emulator) access(c *call, dirfd, name int, mode uint32, flags int) answer {
	who := e.identities.of(c.tid)
	if flags&unix.AT_EACCESS == 0 {
		who.uid.fs, who.gid.fs = who.uid.real, who.gid.real
		who.bare = who.uid.real != 0
		c.as = &who
	}
	if who.overrides() || mode > 7 {
		return pass
	}
	return e.permit(c, dirfd, name, flags, func(f *file) answer {
		if !who.may(f, mode) {
			return fails(unix.EACCES)
		}
		return pass
	})
}

// setTimes answers utimensat(2) and its variants; what says how to set the times.
func (e *Emulator) setTimes(c *call, dirfd, name int, what timesAre, flags int) answer {
	who := e.identities.of(c.tid)
	if who.overrides() || what == timesOmitted {
		return pass
	}
	return e.permit(c, dirfd, name, flags, func(f *file) answer {
		switch {
		case who.owns(f) || what == timesNow && who.may(f, mayWrite):
			return pass
		case what == timesNow:
			return fails(unix.EACCES)
		}
		return fails(unix.EPERM)
	})
}

type timesAre int

const (
	timesGiven timesAre = iota
	timesNow
	timesOmitted
)

// times reads what utimensat(2) is to do.
func (c *call) times(n int) timesAre {
	if c.args[n] == 0 {
		return timesNow
	}
	var at [2]unix.Timespec
	if got, err := c.read(uintptr(c.args[n]), bytesOf(&at)); err != nil || got != len(bytesOf(&at)) {
		return timesGiven
	}
	switch {
	case at[0].Nsec == unix.UTIME_OMIT && at[1].Nsec == unix.UTIME_OMIT:
		return timesOmitted
	case at[0].Nsec == unix.UTIME_NOW && at[1].Nsec == unix.UTIME_NOW:
		return timesNow
	}
	return timesGiven
}

// oldTimes does the same for the older calls.
func (c *call) oldTimes(n int) timesAre {
	if c.args[n] == 0 {
		return timesNow
	}
	return timesGiven
}

// signalCalls keep processes that are not root from ending those of other users.
func (e *Emulator) signalCalls() {
	for number, arg := range map[uint32]int{
		unix.SYS_KILL: 0, unix.SYS_TKILL: 0, unix.SYS_TGKILL: 1, unix.SYS_RT_SIGQUEUEINFO: 0, unix.SYS_RT_TGSIGQUEUEINFO: 1,
	} {
		e.calls[number] = func(c *call) answer {
			who := e.identities.of(c.tid)
			if who.root() || e.maySignal(&who, c.int(arg)) {
				return pass
			}
			return fails(unix.EPERM)
		}
	}
	e.calls[unix.SYS_PIDFD_SEND_SIGNAL] = func(c *call) answer {
		who := e.identities.of(c.tid)
		pid, err := strconv.Atoi(c.fdinfo(c.fd(0), "Pid:"))
		if who.root() || err != nil || pid <= 0 || e.maySignal(&who, pid) {
			return pass // without a process the kernel fails
		}
		return fails(unix.EPERM)
	}
}

// maySignal follows the rule of kill(2). If there are several processes, a signal must be
// allowed to each.
func (e *Emulator) maySignal(who *credentials, pid int) bool {
	if pid <= 0 {
		all, err := procfs.Processes()
		return err == nil && !slices.ContainsFunc(all, func(each int) bool {
			group, err := unix.Getpgid(each)
			return err == nil && pid != 0 && (pid == -1 || group == -pid) && !e.maySignal(who, each)
		})
	}
	to := e.identities.of(pid)
	for _, id := range []uint32{to.uid.real, to.uid.saved} {
		if id == who.uid.real || id == who.uid.effective {
			return true
		}
	}
	return false
}

// guardCalls keep a step from slowing down, or lowering the limits of, the process that
// watches it.
func (e *Emulator) guardCalls() {
	for _, number := range []uint32{
		unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR,
		unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES,
	} {
		e.calls[number] = func(c *call) answer { return e.guard(c, c.int(0)) }
	}
	// The first argument says which processes these are about.
	for number, of := range map[uint32]struct{ process, group int }{
		unix.SYS_SETPRIORITY: {unix.PRIO_PROCESS, unix.PRIO_PGRP},
		unix.SYS_IOPRIO_SET:  {1, 2}, // IOPRIO_WHO_PROCESS and IOPRIO_WHO_PGRP of linux/ioprio.h
	} {
		e.calls[number] = func(c *call) answer {
			switch c.int(0) {
			case of.process, of.group:
				return e.guard(c, c.int(1))
			}
			return fails(unix.EPERM) // all processes of a user
		}
	}
	e.calls[unix.SYS_PRLIMIT64] = e.limit
}

// guard refuses calls about a process of ours, or about another user's.
func (e *Emulator) guard(c *call, pid int) answer {
	who := e.identities.of(c.tid)
	if pid != 0 && (ourThread(strconv.Itoa(pid)) || !who.root() && !e.maySignal(&who, pid)) {
		return fails(unix.EPERM)
	}
	return pass
}

// limit answers prlimit(2), by which C libraries implement setrlimit(2).
func (e *Emulator) limit(c *call) answer {
	if c.args[2] != 0 {
		if a := e.guard(c, c.int(0)); !a.pass {
			return a
		}
	}
	if c.int(1) != tagLimit || !e.fakeRoot {
		return pass
	}
	pid := c.int(0)
	if pid == 0 {
		pid = c.tid
	} else if err := prlimit(pid, nil, nil); err != nil {
		return fails(err)
	}
	return e.lockLimit(c, pid, 2, 3)
}

// lockLimit is a process's setting of the limit in which its credentials are stored: zeros
// mean no limit.
type lockLimit struct{ below, most uint64 } // how far below infinity

// lockLimit sets and returns that limit of a process. The arguments are the addresses of
// the new and the old one, or none.
func (e *Emulator) lockLimit(c *call, pid, set, get int) answer {
	cr := e.identities.of(pid)
	old := unix.Rlimit{Cur: unix.RLIM_INFINITY - cr.locks.below, Max: unix.RLIM_INFINITY - cr.locks.most}
	if set != none && c.args[set] != 0 {
		var limit unix.Rlimit
		if n, err := c.read(uintptr(c.args[set]), bytesOf(&limit)); err != nil || n != len(bytesOf(&limit)) {
			return fails(unix.EFAULT)
		}
		switch {
		case limit.Cur > limit.Max:
			return fails(unix.EINVAL)
		case limit.Max > old.Max:
			return fails(unix.EPERM)
		}
		cr.locks = lockLimit{unix.RLIM_INFINITY - limit.Cur, unix.RLIM_INFINITY - limit.Max}
		if err := e.identities.set(pid, cr); err != nil {
			return fails(err)
		}
	}
	if get != none && c.args[get] != 0 {
		if err := c.write(get, bytesOf(&old)); err != nil {
			return fails(unix.EFAULT)
		}
	}
	return answer{}
}

// tagCalls adds the old calls about that limit.
func (e *Emulator) tagCalls() {
	e.calls[unix.SYS_GETRLIMIT] = func(c *call) answer { return e.lockLimit(c, c.tid, none, 1) }
	e.calls[unix.SYS_SETRLIMIT] = func(c *call) answer { return e.lockLimit(c, c.tid, 1, none) }
}
