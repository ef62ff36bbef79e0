package fakeroot

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_FSTATAT

func oldModeCalls(map[uint32]int) {}

// This architecture does not have the old calls.

func (e *Emulator) oldOwnerCalls()      {}
func (e *Emulator) oldModeCalls()       {}
func (e *Emulator) oldStatCalls()       {}
func (e *Emulator) oldCreatingCalls()   {}
func (e *Emulator) oldOpeningCalls()    {}
func (e *Emulator) oldRemovingCalls()   {}
func (e *Emulator) oldPermissionCalls() {}

func oldNamingCalls() map[uint32][2]int { return map[uint32][2]int{} }
