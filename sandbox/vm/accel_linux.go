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

// trialTime is how long KVM may take for one instruction.
const trialTime = 3 * time.Second

var kvm struct {
	once  sync.Once
	works bool
}

// accelerator is "kvm" where it works, else "tcg", QEMU's own emulation. That
// /dev/kvm is there says little: virtual machines without nesting may have it,
// and it hangs.
func accelerator(ctx context.Context, qemu string) string {
	kvm.once.Do(func() { kvm.works = tryKVM(ctx, qemu) })
	if kvm.works {
		return "kvm"
	}
	return "tcg"
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

// tryKVM starts a virtual machine that does nothing but end.
func tryKVM(ctx context.Context, qemu string) bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	disk, err := atomicfile.Unnamed("")
	if err != nil {
		return false
	}
	defer disk.Close()
	if _, err := disk.Write(bootSector()); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none",
		"-machine", "pc", "-accel", "kvm", "-m", "16", "-device", "isa-debug-exit,iobase=0x501,iosize=1",
		"-drive", "file=/proc/self/fd/3,format=raw,if=ide,cache=unsafe")
	cmd.ExtraFiles = []*os.File{disk}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	var exit *exec.ExitError
	return errors.As(cmd.Run(), &exit) && exit.ExitCode() == trialExit
}
