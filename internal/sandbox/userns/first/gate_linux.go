//go:build amd64 || arm64

package first

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

// gate is the place where the process that is to become the step's program waits, and may
// have to be traced: only an existing process can be traced. It runs this program again,
// started while it still finds what it needs of the machine.
//
// It cannot be a child that is started once all is ready: its calls are answered like those
// of the step, and Go's runtime stands still until a child runs its program.
type gate struct {
	pid   int
	tid   int // the thread that will be the program
	ours  *os.File
	heard *json.Decoder
	// failed delivers, in the end, what kept it from becoming the program.
	failed chan protocol.Report
}

// newGate starts the process.
func newGate(terminal bool) (*gate, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fds[1])
	g := &gate{ours: os.NewFile(uintptr(fds[0]), "gate"), failed: make(chan protocol.Report, 1)}
	g.heard = json.NewDecoder(g.ours)
	g.pid, err = syscall.ForkExec("/proc/self/exe", []string{protocol.ProgramName}, &syscall.ProcAttr{
		Env: []string{}, Files: []uintptr{0, 1, 2, uintptr(fds[1])}, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: terminal},
	})
	if err != nil {
		return nil, fmt.Errorf("start the process that is to be the program: %w", err)
	}
	return g, nil
}

// ready waits until the process no longer needs anything of the machine.
func (g *gate) ready() error {
	var n protocol.News
	if err := g.heard.Decode(&n); err != nil {
		return fmt.Errorf("start the process that is to be the program: %w", err)
	}
	g.tid = n.Thread
	return nil
}

// trace traces the process. The calling thread is its tracer from now on, and has to wait
// for it.
func (g *gate) trace() error {
	if err := fakeroot.Trace(g.tid); err != nil {
		return &lack.Error{
			Err: fmt.Errorf("the kernel or another sandbox keeps this one from answering system calls, by seccomp and by ptrace: %w", err),
			Hints: []string{"let programs be traced: sysctl kernel.yama.ptrace_scope=1",
				"use Linux 5.19 or later, outside of other sandboxes", "choose `isolation: vm`"},
		}
	}
	return nil
}

// open lets the process become the program. Meanwhile it may stop, which its tracer has to
// handle.
func (g *gate) open(o *protocol.Order, e *fakeroot.Emulator) {
	go func() {
		defer g.ours.Close()
		failed, err := g.converse(o, e)
		if err != nil {
			failed = protocol.Failure(fmt.Errorf("run %q: %w", o.Program, err))
		}
		g.failed <- failed
	}()
}

// converse tells the process what to do. If the conversation ends early, so does the
// process.
func (g *gate) converse(o *protocol.Order, e *fakeroot.Emulator) (protocol.Report, error) {
	told := json.NewEncoder(g.ours)
	if err := told.Encode(o); err != nil {
		return protocol.Report{}, err
	}
	var n protocol.News
	if err := g.heard.Decode(&n); err != nil || n.Failure.Failed() {
		return n.Failure, err
	}
	if o.Listen {
		listener, err := g.take(n.Listener)
		if err != nil {
			return protocol.Report{}, fmt.Errorf("get the listener of its filter: %w", err)
		}
		e.Listen(listener)
	}
	if err := told.Encode(true); err != nil {
		return protocol.Report{}, err
	}
	_ = g.heard.Decode(&n) // it is silent once it is the program
	return n.Failure, nil
}

// take returns a copy of one of the process's files.
func (g *gate) take(fd int) (int, error) {
	process, err := unix.PidfdOpen(g.pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(process)
	return unix.PidfdGetfd(process, fd, 0)
}
