//go:build amd64 || arm64

package fakeroot

import (
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/seccomp"
)

// Ways are the ways by which a step's calls can get to an emulator, where this process
// runs.
type Ways struct {
	// refused says that another filter answers calls that the emulator is for; deaf that
	// the kernel or another filter keeps us from being notified of any.
	refused, deaf bool
}

// FindWays finds out which ways there are.
func FindWays() Ways { return Ways{refusedOutside(), !canListen()} }

// Listens reports whether the emulator is notified, by the listener of the step's filter.
func (w Ways) Listens() bool { return !w.deaf }

// Traced reports whether the step's program has to be traced.
func (w Ways) Traced() bool { return w.deaf || w.refused }

// Filter makes the filter that a step runs under.
func (e *Emulator) Filter(w Ways) seccomp.Filter {
	f := seccomp.New()
	if w.refused {
		Contested(&f, unix.SECCOMP_RET_TRAP, unix.SECCOMP_RET_TRAP)
	}
	if w.deaf {
		e.tell(&f, unix.SECCOMP_RET_TRACE)
	} else {
		e.tell(&f, unix.SECCOMP_RET_USER_NOTIF)
	}
	return f
}
