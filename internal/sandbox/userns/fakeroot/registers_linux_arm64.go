package fakeroot

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// callOf returns the system call in a thread's registers, which was not made.
func callOf(tid int, r *unix.PtraceRegs) *call {
	return &call{tid: tid, number: uint32(r.Regs[8]), args: [6]uint64(r.Regs[:6])}
}

// setResult makes the call return.
func setResult(r *unix.PtraceRegs, result int64) { r.Regs[0] = uint64(result) }

func resultOf(r *unix.PtraceRegs) int64 { return int64(r.Regs[0]) }

// skipCall makes the kernel skip a call.
func skipCall(tid int) error {
	none := int32(-1)
	number := unix.Iovec{Base: (*byte)(unsafe.Pointer(&none))}
	number.SetLen(4)
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGSET, uintptr(tid), unix.NT_ARM_SYSTEM_CALL, uintptr(unsafe.Pointer(&number)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
