//go:build amd64 || arm64

package fakeroot

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/seccomp"
)

// A filter that this program was started under may refuse calls that we answer, as the
// filter of every Nix build does with set-user-id bits and extended attributes. The kernel
// runs all filters; among their results an error takes precedence over a notification, and
// over a stop for a tracer. Only a signal (SECCOMP_RET_TRAP) takes precedence over an
// error. So for these calls our filter asks for a signal. The tracer sees it before the
// process gets it: that is us, and we answer the call and drop the signal. All other calls
// cost a traced process nothing.

// modeCalls returns the calls that set modes, and which argument is the mode.
func modeCalls() map[uint32]int {
	calls := map[uint32]int{unix.SYS_FCHMOD: 1, unix.SYS_FCHMODAT: 2, unix.SYS_FCHMODAT2: 2}
	oldModeCalls(calls)
	return calls
}

// xattrCalls returns the calls about extended attributes.
func xattrCalls() []uint32 {
	return []uint32{
		unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_GETXATTR, unix.SYS_LGETXATTR, unix.SYS_FGETXATTR,
		unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR, unix.SYS_FLISTXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
	}
}

// emptyText is a path that leads nowhere, and not a valid attribute name.
var emptyText byte

// refusedOutside reports whether another filter answers calls like these. They are made so
// that the kernel has a reason to refuse each of them.
func refusedOutside() bool {
	text, none := uintptr(unsafe.Pointer(&emptyText)), ^uintptr(0)
	refused := func(number uint32, args ...uintptr) bool {
		a := append(args, make([]uintptr, 6-len(args))...)
		_, _, errno := unix.RawSyscall6(uintptr(number), a[0], a[1], a[2], a[3], a[4], a[5])
		// A kernel without the call does not mean a filter.
		return !slices.Contains([]unix.Errno{unix.ENOENT, unix.EBADF, unix.EINVAL, unix.EFAULT, unix.ERANGE}, errno)
	}
	for number, mode := range modeCalls() {
		args := []uintptr{text, text, specialBits, 0}
		if number == unix.SYS_FCHMOD {
			args[0] = none
		}
		args[mode] = specialBits
		if number != unix.SYS_FCHMODAT2 && refused(number, args...) {
			return true
		}
	}
	return slices.ContainsFunc(xattrCalls(), func(number uint32) bool {
		switch number {
		case unix.SYS_FSETXATTR, unix.SYS_FGETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FREMOVEXATTR:
			return refused(number, none, text)
		}
		return refused(number, text, text)
	})
}

// Contested adds to a filter what to do with calls that another filter may answer: those
// that set special modes, and those about extended attributes.
func Contested(f *seccomp.Filter, mode, xattr uint32) {
	for number, arg := range modeCalls() {
		f.OnBits(number, arg, specialBits, mode)
	}
	for _, number := range xattrCalls() {
		f.On(number, xattr)
	}
}

// Trace begins to trace a thread, and everything it starts. One thread of ours has to do
// this and all that follows.
func Trace(tid int) error {
	const options = unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
		unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL
	return ptrace(unix.PTRACE_SEIZE, tid, options)
}

func ptrace(request, tid int, data uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Resume lets a stopped traced thread continue. A thread that is gone needs nothing.
func (e *Emulator) Resume(tid int, status unix.WaitStatus) {
	signal := status.StopSignal()
	request := unix.PTRACE_CONT
	switch event := uint32(status) >> 16; {
	case event == unix.PTRACE_EVENT_STOP && signal != unix.SIGTRAP:
		_ = ptrace(unix.PTRACE_LISTEN, tid, 0) // it has to stay stopped until SIGCONT comes
		return
	case event == unix.PTRACE_EVENT_SECCOMP:
		signal = 0
		if e.told(tid) {
			request = unix.PTRACE_SYSCALL
		}
	case signal == syscallStop:
		signal = 0
		e.made(tid)
	case event != 0: // it has started another thread, or was started
		signal = 0
	case signal == unix.SIGSYS && e.trapped(tid):
		signal = 0
	}
	_ = ptrace(request, tid, uintptr(signal))
}

// syscallStop is the signal that stands for a system call's end.
const syscallStop = unix.SIGTRAP | 0x80

// told answers a call that the filter reports to the tracer. It returns true if the end of
// the call has to be seen.
func (e *Emulator) told(tid int) bool {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false
	}
	c := callOf(tid, &regs)
	c.traced = true
	a := e.do(c)
	if a.made != nil {
		e.Ended(tid) // it has not seen the end of another call
		e.making[tid] = a.made
		return true
	}
	if !a.pass {
		a.give(tid, &regs)
		_ = skipCall(tid)
	}
	return false
}

// made notes the owner of a file that a thread's call has made.
func (e *Emulator) made(tid int) {
	m := e.making[tid]
	if m == nil {
		return
	}
	defer e.Ended(tid)
	e.mu.Lock()
	defer e.mu.Unlock()
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err == nil && resultOf(&regs) >= 0 {
		m.madeBy(&call{tid: tid, e: e}, int(resultOf(&regs)))
	}
}

// Ended says that a thread, or the call it was in, has ended.
func (e *Emulator) Ended(tid int) {
	if m := e.making[tid]; m != nil {
		m.dir.close()
		delete(e.making, tid)
	}
}

// give makes a thread's call return the answer.
func (a *answer) give(tid int, regs *unix.PtraceRegs) {
	if a.errno != 0 {
		a.value = -int64(a.errno)
	}
	setResult(regs, a.value)
	_ = unix.PtraceSetRegs(tid, regs) // it may be gone
}

// sysSeccomp is the code of a signal that a filter sends, SYS_SECCOMP of
// asm-generic/siginfo.h.
const sysSeccomp = 1

// trapped answers the call for which a thread gets SIGSYS, unless the signal comes from
// elsewhere.
func (e *Emulator) trapped(tid int) bool {
	var info unix.Siginfo
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETSIGINFO, uintptr(tid), 0, uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 || info.Code != sysSeccomp {
		return false
	}
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false
	}
	c := callOf(tid, &regs)
	if !c.traps() {
		return false // a filter of the step's own sent it
	}
	a := e.do(c)
	if a.pass {
		a = fails(c.refusal())
	}
	a.give(tid, &regs)
	return true
}

// traps reports whether a call is one of the contested ones.
func (c *call) traps() bool {
	mode, ok := modeCalls()[c.number]
	return ok && c.args[mode]&specialBits != 0 || slices.Contains(xattrCalls(), c.number)
}

// refusal returns the result of a call that the emulator would leave to the kernel, where a
// filter keeps the kernel from doing it.
func (c *call) refusal() error {
	if c.unresolved != nil {
		return c.unresolved
	}
	if _, ok := modeCalls()[c.number]; ok {
		return unix.EPERM
	}
	return c.attributeRefusal()
}
