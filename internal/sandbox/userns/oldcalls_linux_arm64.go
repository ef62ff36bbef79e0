package userns

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_FSTATAT

func oldModeCalls(map[uint32]int) {}

// This architecture does without the old calls.

func (e *emulator) oldOwnerCalls()      {}
func (e *emulator) oldModeCalls()       {}
func (e *emulator) oldStatCalls()       {}
func (e *emulator) oldCreatingCalls()   {}
func (e *emulator) oldOpeningCalls()    {}
func (e *emulator) oldRemovingCalls()   {}
func (e *emulator) oldPermissionCalls() {}

func oldNamingCalls() map[uint32][2]int { return map[uint32][2]int{} }

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
