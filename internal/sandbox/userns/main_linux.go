//go:build amd64 || arm64

package userns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/rmtree"
	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/worktree"
)

// Main is the first process of a sandbox, if that is what this process was
// started as: it then does its work and returns true with the exit code. In any
// other process it returns false at once.
func Main() (code int, ok bool) {
	if len(os.Args) != 1 {
		return 0, false
	}
	var err error
	switch control := os.NewFile(fdControl, "control"); os.Args[0] {
	case initName:
		err = firstProcess(control)
	case programName:
		err = tracedProgram(control)
	default:
		return 0, false
	}
	if err != nil {
		if !errors.Is(err, io.EOF) { // who would tell what to do has ended, and says why
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		}
		return 1, true
	}
	return 0, true
}

// firstProcess reads what to do, does it and reports.
func firstProcess(control *os.File) error {
	if os.Getpid() != 1 {
		return errors.New("this is for varve itself to run")
	}
	for fd := fdControl; fd <= fdChanges; fd++ {
		unix.CloseOnExec(fd)
	}
	if err := endure(); err != nil {
		return err
	}
	var cfg config
	if err := json.NewDecoder(control).Decode(&cfg); err != nil {
		return fmt.Errorf("read the config: %w", err)
	}
	for _, fd := range cfg.Opened {
		unix.CloseOnExec(fd)
	}
	p := &firstProc{cfg: &cfg, control: control,
		tree: os.NewFile(fdTree, "tree"), changes: os.NewFile(fdChanges, "changes")}
	rep, err := p.do()
	if err != nil {
		rep = failure(err)
	}
	return json.NewEncoder(control).Encode(&rep)
}

// endure has the kernel drop signals that the step sends to this process, as it
// does with those of the first process of a namespace that are left at their
// default: at many Go's runtime would end it.
func endure() error {
	for s := unix.SIGHUP; s <= unix.SIGSYS; s++ {
		switch s {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGURG: // the last is the runtime's own
			continue
		}
		if err := byDefault(s); err != nil {
			return err
		}
	}
	return nil
}

// byDefault has a signal do what it does by default.
func byDefault(s unix.Signal) error {
	var action [4]uint64
	if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); e != 0 {
		return fmt.Errorf("reset signal %d: %w", int(s), e)
	}
	return nil
}

// firstProc is the process that this file is about.
type firstProc struct {
	cfg           *config
	control       *os.File
	tree, changes *os.File
	// work is the working directory's descriptor.
	work int
	// written is where what the step writes is found.
	written  worktree.Tree
	records  *fakeroot.Records
	emulator *fakeroot.Emulator
	// ways are those by which calls get to the emulator.
	ways fakeroot.Ways
	gate *gate
}

func (p *firstProc) do() (report, error) {
	var err error
	if p.work, err = unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return report{}, fmt.Errorf("open the working directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(p.work, &st); err != nil || !p.cfg.Remove && (st.Dev != p.cfg.WorkDev || st.Ino != p.cfg.WorkIno) {
		return report{}, errors.New("the directory for the tree is another than was made: let TMPDIR be a directory that others cannot write to")
	}
	if err := p.become(); err != nil {
		return report{}, fmt.Errorf("become the sandbox's first user: %w", err)
	}
	if p.cfg.Remove {
		return report{}, rmtree.Below(p.work)
	}
	p.ways = fakeroot.FindWays()
	rep, err := p.runStep()
	p.changes.Close()
	if removeErr := rmtree.Below(p.work); !rep.failed() { // or it may be the step that keeps us from it
		err = errors.Join(err, removeErr)
	}
	return rep, err
}

// become takes on the user that the process is in its namespace, which it may
// not have been before the maps were written.
func (p *firstProc) become() error {
	if p.cfg.Groups {
		if err := unix.Setgroups(nil); err != nil {
			return err
		}
	}
	if err := unix.Setresgid(p.cfg.User, p.cfg.User, p.cfg.User); err != nil {
		return err
	}
	if err := unix.Setresuid(p.cfg.User, p.cfg.User, p.cfg.User); err != nil {
		return err
	}
	// Neither is kept by a change of users.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	// No process of the step may look into this one, or at its files.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	unix.Umask(0)
	return nil
}
