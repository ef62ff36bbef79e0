//go:build amd64 || arm64

package userns

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// RefuseAsNix puts all threads of this process, and what they start, under a
// filter like that of Nix's builds.
func RefuseAsNix() error {
	var f filter
	f.load(dataNumber)
	for number, mode := range modeCalls() {
		f.onBits(number, mode, specialBits, errno(unix.EPERM))
	}
	for _, number := range xattrCalls() {
		f.on(number, errno(unix.ENOTSUP))
	}
	f.ret(unix.SECCOMP_RET_ALLOW)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return e
	}
	return nil
}
