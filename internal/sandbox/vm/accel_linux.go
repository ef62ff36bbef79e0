//go:build amd64

package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/varve-image/varve/internal/atomicfile"
)

// pastTime is a deadline that has passed.
var pastTime = time.Unix(1, 0)

// trialTime limits a trial, which does nothing but start and end.
const trialTime = 3 * time.Second

// KVM's trial may take this many times as long as the emulation's, although KVM should be
// faster, and leastTime in any case, since the machine may be busy. Where KVM works it
// takes about as long.
const (
	trialFactor = 5
	leastTime   = time.Second
)

var kvm struct {
	once  sync.Once
	works bool
}

// accelerator returns "kvm" where it works, else "tcg", QEMU's own emulation. That /dev/kvm
// exists says little: in a virtual machine it may hang, or be itself an emulation that is
// far slower than QEMU's and does not start a kernel.
func accelerator(ctx context.Context, qemu string) string {
	kvm.once.Do(func() { kvm.works = kvmWorks(ctx, qemu) })
	if kvm.works {
		return "kvm"
	}
	return "tcg"
}

// kvmWorks reports whether KVM finishes a trial, and not much later than the emulation.
func kvmWorks(ctx context.Context, qemu string) bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	emulated, ok := trial(ctx, qemu, "tcg", trialTime)
	if !ok {
		return false
	}
	_, ok = trial(ctx, qemu, "kvm", min(trialTime, max(leastTime, trialFactor*emulated)))
	return ok
}

// bootSector ends QEMU by way of its debugging exit: mov dx,0x501; mov
// al,0x10; out dx,al; hlt. QEMU's exit code is twice the value plus one.
func bootSector() []byte {
	sector := make([]byte, 512)
	copy(sector, []byte{0xba, 0x01, 0x05, 0xb0, 0x10, 0xee, 0xf4})
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

const trialExit = 0x10*2 + 1

// trial reports whether a virtual machine that only ends itself does so within a time
// limit, and how much processor time it took.
func trial(ctx context.Context, qemu, accel string, limit time.Duration) (time.Duration, bool) {
	disk, err := atomicfile.Unnamed("")
	if err != nil {
		return 0, false
	}
	defer disk.Close()
	if _, err := disk.Write(bootSector()); err != nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none",
		"-machine", "pc", "-accel", accel, "-m", "16", "-device", "isa-debug-exit,iobase=0x501,iosize=1",
		"-drive", "file=/proc/self/fd/3,format=raw,if=ide,cache=unsafe")
	cmd.ExtraFiles = []*os.File{disk}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	var exit *exec.ExitError
	if !errors.As(cmd.Run(), &exit) || exit.ExitCode() != trialExit {
		return 0, false
	}
	return exit.UserTime() + exit.SystemTime(), true
}
