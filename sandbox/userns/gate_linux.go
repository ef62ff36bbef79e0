//go:build amd64 || arm64

package userns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/sandbox"
)

// gate is what a program that is to be traced waits at: this program itself,
// which runs the step's when it is told to. The kernel lets no one start a
// program that is traced by another thread than the one that starts it, and that one has
// given up all that a tracer needs.
type gate struct {
	ours, theirs *os.File
	told         *json.Decoder
	program      program
}

// program is what is to be run.
type program struct {
	Path      string
	Argv, Env []string
}

// newGate makes the program, arguments and attributes those of one that waits at a
// gate.
func newGate(path *string, argv *[]string, attr *syscall.ProcAttr) (*gate, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	g := &gate{ours: os.NewFile(uintptr(fds[0]), "gate"), theirs: os.NewFile(uintptr(fds[1]), "gate")}
	g.told = json.NewDecoder(g.ours)
	g.program = program{*path, *argv, attr.Env}
	*path, *argv = "/proc/self/exe", []string{programName}
	attr.Env, attr.Files = []string{}, append(attr.Files, g.theirs.Fd())
	return g, nil
}

func (g *gate) closeTheirs() { g.theirs.Close() }

// open traces the program that waits, and lets it go on.
func (g *gate) open() error {
	var tid int
	if err := g.told.Decode(&tid); err != nil {
		return fmt.Errorf("start %q: %w", g.program.Path, err)
	}
	if err := seize(tid); err != nil {
		return &sandbox.MissingError{
			Err: fmt.Errorf("another sandbox refuses to set special modes or extended attributes, and does not let this one trace programs either: %w", err),
			Hints: []string{"let this user trace its own processes: sysctl kernel.yama.ptrace_scope=1 or less",
				"in a Nix build, set filter-syscalls = false", "choose `isolation: vm`"},
		}
	}
	if err := json.NewEncoder(g.ours).Encode(&g.program); err != nil {
		return fmt.Errorf("start %q: %w", g.program.Path, err)
	}
	return nil
}

// failure is why the program could not be run, when it has ended.
func (g *gate) failure() error {
	defer g.ours.Close()
	var errno unix.Errno
	if err := g.told.Decode(&errno); err != nil {
		return nil // it was run, or killed
	}
	return fmt.Errorf("run %q: %w", g.program.Path, errno)
}

// tracedProgram waits at a gate, and becomes the program that it is told. It
// returns only if that fails.
func tracedProgram(theirs *os.File) error {
	unix.CloseOnExec(int(theirs.Fd()))
	runtime.LockOSThread() // the thread that is traced is the one that becomes the program
	told := json.NewEncoder(theirs)
	if err := told.Encode(unix.Gettid()); err != nil {
		return err
	}
	var p program
	if err := json.NewDecoder(theirs).Decode(&p); errors.Is(err, io.EOF) {
		return nil // the sandbox has ended
	} else if err != nil {
		return err
	}
	err := unix.Exec(p.Path, p.Argv, p.Env)
	return told.Encode(err)
}
