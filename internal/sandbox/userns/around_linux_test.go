//go:build amd64 || arm64

package userns_test

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/seccomp"
)

// refuseAsNix puts all threads of this process, and what they start, under a filter like
// the one of Nix's builds.
func refuseAsNix() error {
	return around(refusing(), 0)
}

// refuseTracing puts them under a filter that forbids tracing.
func refuseTracing() error {
	f := loadNumber()
	f.On(unix.SYS_PTRACE, errno(unix.EPERM))
	return around(f, 0)
}

// takeListener puts them under a filter with a listener, which rules out a second listener.
func takeListener() error {
	return around(nil, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
}

func refusing() seccomp.Filter {
	f := loadNumber()
	fakeroot.Contested(&f, errno(unix.EPERM), errno(unix.ENOTSUP))
	return f
}

// loadNumber begins a filter whose rules are about numbers of calls.
func loadNumber() seccomp.Filter {
	return seccomp.Filter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}}
}

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// around puts all threads under a filter, which allows every call it has no rule for.
func around(f seccomp.Filter, flags uintptr) error {
	f = append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	runtime.LockOSThread() // both calls must come from one thread
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
