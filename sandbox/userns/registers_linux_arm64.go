package userns

import "golang.org/x/sys/unix"

// callOf is the system call that a thread's registers hold: one that was not
// made.
func callOf(tid int, r *unix.PtraceRegs) *call {
	return &call{tid: tid, number: uint32(r.Regs[8]), args: [6]uint64(r.Regs[:6])}
}

// giveResult has the call return.
func giveResult(r *unix.PtraceRegs, result int64) { r.Regs[0] = uint64(result) }
