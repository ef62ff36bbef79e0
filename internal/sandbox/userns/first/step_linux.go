//go:build amd64 || arm64

package first

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/limits"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

// scriptName is the path at which a step finds its script.
const scriptName = "/dev/varve-script"

// runStep makes the sandbox, runs the step in it and sends what it changed.
func (p *process) runStep() (protocol.Report, error) {
	var err error
	if p.gate, err = newGate(p.cfg.Terminal); err != nil {
		return protocol.Report{}, err
	}
	m, err := p.setUp()
	defer m.detach()
	if err != nil {
		return protocol.Report{}, err
	}
	if err := p.settle(); err != nil {
		return protocol.Report{}, err
	}
	if err := p.startEmulator(); err != nil {
		return protocol.Report{}, err
	}
	rep, err := p.runProgram()
	if err != nil || rep.Failed() {
		return rep, err
	}
	p.records.Written()
	return rep, p.written.Collect(p.changes, p.records, m.made, p.cfg.Limits.Disk)
}

// startEmulator makes the emulator, now that all is mounted.
func (p *process) startEmulator() (err error) {
	opts := fakeroot.Options{FakeRoot: p.cfg.FakeRoot, TreeDir: p.treeDir(), Tree: p.written.Dir, Temporary: temporary(p.cfg.Root)}
	p.emulator, err = fakeroot.New(p.records, opts)
	if err != nil {
		return fmt.Errorf("look at what the step is to see: %w", err)
	}
	return nil
}

// temporary returns the directories that are the sandbox's own rather than the tree's, in
// memory.
func temporary(root sandbox.Root) []string {
	if root == sandbox.HostTools {
		return []string{"/dev/shm", "/tmp"}
	}
	return []string{"/dev/shm"} // elsewhere /tmp is the tree's
}

// runProgram runs the step's program, and everything that it has started, to its end.
func (p *process) runProgram() (rep protocol.Report, err error) {
	w, err := limits.New(limits.Options{
		Limits: p.cfg.Limits, Tree: p.written, Temporary: temporary(p.cfg.Root), OwnNetwork: p.cfg.Network == sandbox.NetworkNone,
	})
	if err != nil {
		return protocol.Report{}, fmt.Errorf("watch what the step uses: %w", err)
	}
	runtime.LockOSThread() // it may be a tracer
	defer runtime.UnlockOSThread()
	pid, err := p.spawn()
	if err != nil {
		return protocol.Report{}, err
	}
	w.Start()
	defer w.Stop()
	go p.endWithCaller()
	rep = p.wait(pid)
	if failed := <-p.gate.failed; failed.Failed() {
		rep = failed
	}
	if limit := w.Reached(); limit != nil {
		rep = protocol.Failure(limit)
	}
	return rep, nil
}

// endWithCaller ends the step when the caller is gone, which closes its end of the socket.
// It serves callers whose end does not make the kernel end us.
func (p *process) endWithCaller() {
	_, _ = io.Copy(io.Discard, p.control)
	_ = unix.Kill(-1, unix.SIGKILL) // there may be no process
}

// treeDir returns where the tree is mounted.
func (p *process) treeDir() string {
	if p.cfg.Root == sandbox.HostTools {
		return sandbox.TreeDir
	}
	return "/"
}

// settle does what is left to be done in the namespaces.
func (p *process) settle() error {
	if err := unix.Sethostname([]byte("localhost")); err != nil {
		return fmt.Errorf("set the host's name: %w", err)
	}
	if p.cfg.Network == sandbox.NetworkNone {
		if err := loopback(); err != nil {
			return fmt.Errorf("start the loopback interface: %w", err)
		}
	}
	if p.cfg.Script != "" {
		return os.WriteFile(scriptName, []byte(p.cfg.Script), 0o444)
	}
	return nil
}

// loopback brings the namespace's only interface up.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// wait reaps processes until the step's own ends, and then ends all others.
func (p *process) wait(pid int) protocol.Report {
	var rep protocol.Report
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil: // there are no more
			return rep
		case status.Stopped():
			p.emulator.Resume(got, status)
			continue
		}
		p.emulator.Ended(got)
		if got != pid {
			continue
		}
		rep.ExitCode = status.ExitStatus()
		if status.Signaled() {
			rep.ExitCode, rep.Signal = 0, int(status.Signal())
		}
		_ = unix.Kill(-1, unix.SIGKILL) // there may be no process
	}
}
