package fakeroot

import "golang.org/x/sys/unix"

// callOf returns the system call in a thread's registers, which was not made.
func callOf(tid int, r *unix.PtraceRegs) *call {
	return &call{tid: tid, number: uint32(r.Orig_rax), args: [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}}
}

// setResult makes the call return without being made.
func setResult(r *unix.PtraceRegs, result int64) {
	r.Rax = uint64(result)
	r.Orig_rax = ^uint64(0)
}

func resultOf(r *unix.PtraceRegs) int64 { return int64(r.Rax) }

// skipCall is part of setResult here.
func skipCall(int) error { return nil }
