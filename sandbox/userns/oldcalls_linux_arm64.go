package userns

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_FSTATAT

// openFlags is which argument of a call has the flags of open(2), or -1.
func openFlags(number uint32) int {
	if number == unix.SYS_OPENAT {
		return 2
	}
	return -1
}

func oldModeCalls(map[uint32]int) {}

func (e *emulator) oldDeviceCalls() {}

// This architecture does without the old calls.

func (e *emulator) oldOwnerCalls()    {}
func (e *emulator) oldModeCalls()     {}
func (e *emulator) oldStatCalls()     {}
func (e *emulator) oldMkdirCalls()    {}
func (e *emulator) oldCreatingCalls() {}
func (e *emulator) oldRemovingCalls() {}

// filesArgument is which argument of a call, from 1 on, says for how many files it
// waits, or 0.
func filesArgument(number int) int {
	switch number {
	case unix.SYS_PPOLL:
		return 2
	case unix.SYS_PSELECT6:
		return 1
	}
	return 0
}
