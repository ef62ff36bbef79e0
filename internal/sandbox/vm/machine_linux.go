//go:build amd64

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
)

// machine is a running virtual machine.
type machine struct {
	// port is our end of the step's serial port, files our end of the other port.
	port, files *os.File
	cmd         *exec.Cmd
	done        chan struct{} // closed when it has ended
	served      chan struct{} // closed when the file server has ended

	mu      sync.Mutex
	console sandbox.Tail // output of the kernel and QEMU
}

// startMachine starts a virtual machine with the files, and serves the shares to it. A
// question that makes no sense cancels the context.
func startMachine(ctx context.Context, cancel context.CancelCauseFunc, qemu string, k kernel, step *sandbox.Step, f *files, shares []share) (_ *machine, err error) {
	m := &machine{done: make(chan struct{}), served: make(chan struct{})}
	defer func() {
		if err != nil {
			m.closePorts()
		}
	}()
	var theirs [2]*os.File
	for i, ours := range []**os.File{&m.port, &m.files} {
		if *ours, theirs[i], err = serialPort(); err != nil {
			return nil, err
		}
		defer theirs[i].Close()
	}
	server, err := newFileServer(m.files, shares)
	if err != nil {
		return nil, err
	}
	m.cmd = exec.Command(qemu, machineArgs(k, accelerator(ctx, qemu), step.VM.Memory)...)
	m.cmd.Env = []string{"LC_ALL=C", "HOME=/", "PATH=/usr/bin:/bin"}
	m.cmd.ExtraFiles = []*os.File{f.initramfs, f.disk, f.tree, f.changes, theirs[0], theirs[1]}
	m.cmd.Stdout, m.cmd.Stderr = m, m
	if err := m.start(); err != nil {
		server.close()
		return nil, err
	}
	go func() {
		defer close(m.served)
		if err := server.serve(); err != nil {
			cancel(fmt.Errorf("step %s: show this machine's files to the virtual machine: %w", step.Name, err))
		}
	}()
	return m, nil
}

// serialPort makes the two ends of a serial port: ours, which supports deadlines, and the
// machine's.
func serialPort() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(pair[1]), "serial port")
	if err := unix.SetNonblock(pair[0], true); err != nil {
		theirs.Close()
		return nil, nil, errors.Join(err, unix.Close(pair[0]))
	}
	return os.NewFile(uintptr(pair[0]), "serial port"), theirs, nil
}

func (m *machine) closePorts() {
	for _, port := range []*os.File{m.port, m.files} {
		if port != nil {
			port.Close()
		}
	}
}

// start starts the process, which the kernel ends with this one.
func (m *machine) start() error {
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		// The signal comes when the thread that started the process ends.
		runtime.LockOSThread()
		err := m.cmd.Start()
		started <- err
		if err == nil {
			_ = m.cmd.Wait() // its exit code means nothing: the guest's report counts
		}
		close(m.done)
	}()
	return <-started
}

// kernelArguments is the kernel's command line. It skips the timer check: on a busy machine
// an emulated timer ticks too late for it, and the kernel then takes it for broken and does
// not start.
const kernelArguments = "console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check"

// machineArgs describes the hardware: processor, memory, three disks, a console and two
// serial ports. The numbers in it are the descriptors that the process gets.
func machineArgs(k kernel, accel string, memory int64) []string {
	// A second emulated processor costs more than it gives. Without a limit, the cache of
	// translated code, of which a guest can produce any amount, takes up to 1 GiB.
	cpu, cpus := "max", 1
	if accel == "kvm" {
		cpu, cpus = "host", min(runtime.NumCPU(), 4)
	} else {
		accel += ",tb-size=128"
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", "pc,graphics=off", "-accel", accel, "-cpu", cpu,
		"-smp", fmt.Sprint(cpus), "-m", fmt.Sprintf("%dM", (memory+1<<20-1)>>20),
		"-kernel", k.path, "-initrd", "/proc/self/fd/3",
		"-append", kernelArguments,
		"-nic", "none", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=step,fd=7", "-device", "virtserialport,chardev=step,name=" + stepPort,
		"-chardev", "socket,id=files,fd=8", "-device", "virtserialport,chardev=files,name=" + filesPort,
	}
	for i, disk := range []string{"", ",readonly=on", ",discard=unmap"} {
		args = append(args, "-drive", fmt.Sprintf("file=/proc/self/fd/%d,format=raw,if=virtio,cache=unsafe%s", 4+i, disk))
	}
	return args
}

// Write keeps the end of the console's output.
func (m *machine) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.console.Write(p)
}

// consoleText returns the end of the console's output, for an error.
func (m *machine) consoleText() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := m.console.Lines()
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf("; its console ends with %q", strings.Join(lines[max(0, len(lines)-8):], "\n"))
}

// kill ends the virtual machine, and any reading from it.
func (m *machine) kill() {
	_ = m.cmd.Process.Kill() // it may have ended
	_ = m.port.SetDeadline(pastTime)
	_ = m.files.SetDeadline(pastTime)
}

// serveTime limits how long the file server may take to end: a file that the host cannot
// read, for example on a server that is down, must not hold up anything.
const serveTime = time.Second

// stop ends the virtual machine and waits until it has.
func (m *machine) stop() {
	m.kill()
	<-m.done
	select {
	case <-m.served:
	case <-time.After(serveTime):
	}
	m.closePorts()
}
