//go:build amd64 || arm64

package fakeroot

import (
	"runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/seccomp"
)

// notification is struct seccomp_notif (linux/seccomp.h).
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	data  struct {
		number      int32
		arch        uint32
		instruction uint64
		args        [6]uint64
	}
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// addFile is struct seccomp_notif_addfd.
type addFile struct {
	id        uint64
	flags     uint32
	source    uint32
	target    uint32
	openFlags uint32
}

// Listen answers the calls that a filter's listener delivers, until no process has the
// filter any more.
func (e *Emulator) Listen(listener int) {
	// The waiting caller continues on our processor: better than waking another one.
	_, _, _ = unix.RawSyscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	go func() {
		for e.next(listener) {
		}
	}()
}

// patience is how long to wait for a call at a time.
const patience = 5 * time.Millisecond

// next answers one call. It returns false when there will be no more.
//
// It waits without the scheduler's knowledge: between two calls a scheduler would give the
// processor to others and take it back, which takes many times as long as the answer. Waits
// are short, so that the garbage collector can have its turn.
func (e *Emulator) next(listener int) bool {
	wait := unix.NsecToTimespec(int64(patience))
	poll := unix.PollFd{Fd: int32(listener), Events: unix.POLLIN}
	ready, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&wait)), 0, 0, 0)
	if errno != 0 || ready == 0 {
		return errno == 0 || errno == unix.EINTR
	}
	if poll.Revents&unix.POLLIN == 0 {
		return false
	}
	var n notification
	if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return errno == unix.EINTR || errno == unix.ENOENT // the caller is gone
	}
	c := &call{tid: int(n.pid), number: uint32(n.data.number), args: n.data.args, waits: func() bool { return valid(listener, n.id) }}
	a := e.do(c)
	r := response{id: n.id, value: a.value}
	switch {
	case a.pass:
		r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	case a.errno != 0:
		r.value, r.errno = 0, -int32(a.errno)
	case a.file != nil:
		fd, errno := a.file.add(listener, n.id)
		unix.Close(a.file.fd)
		r.value, r.errno = int64(fd), -int32(errno)
	}
	// A caller that is gone needs no answer.
	_, _, _ = unix.RawSyscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
	return true
}

// valid reports whether a notification still waits for its answer.
func valid(listener int, id uint64) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&id)))
	return errno == 0
}

// add gives the caller an open file, for its call to return. Having the kernel answer the
// call at the same time (SECCOMP_ADDFD_FLAG_SEND) goes wrong when a signal comes in
// between.
func (f *newFile) add(listener int, id uint64) (int, unix.Errno) {
	a := addFile{id: id, source: uint32(f.fd)}
	if f.cloexec {
		a.openFlags = unix.O_CLOEXEC
	}
	for {
		fd, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(&a)))
		if errno != unix.EINTR {
			return int(fd), errno
		}
	}
}

// canListen reports whether filters may notify this process: Linux 5.19 and later do so
// reliably, but only for one filter at a time.
func canListen() bool {
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // and never unlocked: the filter ends with the thread
		var f seccomp.Filter
		listener, err := f.Install(true)
		if err == nil {
			unix.Close(listener)
		}
		done <- err == nil
	}()
	return <-done
}

// tell makes a filter report the calls that the emulator is for, by action.
func (e *Emulator) tell(f *seccomp.Filter, action uint32) {
	numbers := make([]uint32, 0, len(e.calls))
	for number := range e.calls {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		switch {
		case number == unix.SYS_GETRLIMIT || number == unix.SYS_SETRLIMIT:
			f.OnValues(number, 0, ^uint32(0), action, tagLimit)
		default:
			f.On(number, action)
		}
	}
}
