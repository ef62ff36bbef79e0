//go:build amd64 || arm64

package program

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/kernel"
	"github.com/varve-image/varve/internal/sandbox/userns/limits"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

// Main waits for an Order at the socket theirs, and becomes the program in it. It returns
// only if that fails.
func Main(theirs *os.File) error {
	unix.CloseOnExec(int(theirs.Fd()))
	runtime.LockOSThread() // that thread is traced
	told, heard := json.NewEncoder(theirs), json.NewDecoder(theirs)
	if err := told.Encode(protocol.News{Thread: unix.Gettid()}); err != nil {
		return err
	}
	var o protocol.Order
	if err := heard.Decode(&o); err != nil {
		return err
	}
	listener, err := restrict(&o)
	if err != nil {
		return told.Encode(protocol.News{Failure: protocol.Failure(err)})
	}
	if err := told.Encode(protocol.News{Listener: listener}); err != nil {
		return err
	}
	var listened bool
	if err := heard.Decode(&listened); err != nil {
		return err
	}
	if err = unix.Chdir(o.Dir); err == nil { // the emulator answers by now
		err = unix.Exec(o.Program, o.Argv, o.Env)
	}
	return told.Encode(protocol.News{Failure: protocol.Failure(runError(o.Program, err))})
}

// kept returns the capabilities that fake root has, over what is in the namespace.
func kept() []uintptr {
	return []uintptr{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_SETGID,
		unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT, unix.CAP_SETFCAP,
		unix.CAP_AUDIT_WRITE, unix.CAP_MKNOD,
	}
}

// restrict takes everything that a step must not have from the calling thread and from what
// it starts. It returns what installing its filter returns.
func restrict(o *protocol.Order) (listener int, err error) {
	if err := limits.Set(o.Limits); err != nil {
		return -1, err
	}
	// A signal that the caller ignores would stay ignored in the step.
	for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGINT} {
		if err := kernel.ByDefault(s); err != nil {
			return -1, err
		}
	}
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return -1, fmt.Errorf("close files: %w", err)
	}
	// The caller's keys stay behind.
	if _, _, e := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0); e != 0 && e != unix.ENOSYS && e != unix.EPERM {
		return -1, fmt.Errorf("leave the caller's keys: %w", e)
	}
	// The mask is the step's, not that of threads that make files for it.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return -1, fmt.Errorf("have a file mask of its own: %w", err)
	}
	unix.Umask(0o022)
	if err := dropCapabilities(o.FakeRoot); err != nil {
		return -1, fmt.Errorf("drop capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, fmt.Errorf("give up privileges: %w", err)
	}
	if listener, err = o.Filter.Install(o.Listen); err != nil {
		return -1, kernel.Lack("filter system calls", err)
	}
	return listener, nil
}

func dropCapabilities(fakeRoot bool) error {
	var set [2]uint32
	if fakeRoot {
		for _, c := range kept() {
			set[c/32] |= 1 << (c % 32)
		}
	}
	for c := range kernel.LastCapability() + 1 {
		if set[c/32]&(1<<(c%32)) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: set[0], Permitted: set[0]}, {Effective: set[1], Permitted: set[1]}}
	return unix.Capset(&header, &data[0])
}
