//go:build amd64 || arm64

package userns

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RefuseAsNix puts all threads of this process, and what they start, under a
// filter like that of Nix's builds.
func RefuseAsNix() error {
	f := refusing()
	return f.around(0)
}

// RefuseTracing puts them under a filter that lets nobody trace programs.
func RefuseTracing() error {
	var f filter
	f.load(dataNumber)
	f.on(unix.SYS_PTRACE, errno(unix.EPERM))
	f.ret(unix.SECCOMP_RET_ALLOW)
	return f.around(0)
}

// TakeListener puts them under a filter with a listener, so that there can be no
// second one.
func TakeListener() error {
	var f filter
	f.ret(unix.SECCOMP_RET_ALLOW)
	return f.around(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
}

func refusing() filter {
	var f filter
	f.load(dataNumber)
	for number, mode := range modeCalls() {
		f.onBits(number, mode, specialBits, errno(unix.EPERM))
	}
	for _, number := range xattrCalls() {
		f.on(number, errno(unix.ENOTSUP))
	}
	f.ret(unix.SECCOMP_RET_ALLOW)
	return f
}

func (f filter) around(flags uintptr) error {
	runtime.LockOSThread() // both calls are to be one thread's
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags|unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return e
	}
	return nil
}
