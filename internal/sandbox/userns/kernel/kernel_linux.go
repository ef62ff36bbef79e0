//go:build amd64 || arm64

package kernel

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/lack"
)

// ByDefault resets a signal to its default action.
func ByDefault(s unix.Signal) error {
	var action [4]uint64
	if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); e != 0 {
		return fmt.Errorf("reset signal %d: %w", int(s), e)
	}
	return nil
}

// Lack returns the error for something that requires Linux 5.12.
func Lack(what string, err error) error {
	return &lack.Error{
		Err: fmt.Errorf("the kernel does not let the sandbox %s: %w", what, err),
		Hints: []string{"use Linux 5.12 or later", "in a container, start it so that /proc is not masked (docker run --security-opt systempaths=unconfined)",
			"choose `isolation: vm`"},
	}
}

// CloneTree opens a copy of what is mounted at a path and below, to be mounted elsewhere.
func CloneTree(source string) (int, error) {
	return unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
}

// LastCapability returns the highest capability that the kernel knows.
func LastCapability() uintptr {
	for c := uintptr(0); ; c++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil {
			return c - 1
		}
	}
}
