//go:build amd64 || arm64

package first

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/rmtree"
	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/kernel"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
	"github.com/varve-image/varve/internal/sandbox/userns/worktree"
)

// Main reads what to do from the socket control, does it and reports there.
func Main(control *os.File) error {
	if os.Getpid() != 1 {
		return errors.New("this is for varve itself to run")
	}
	for fd := protocol.FDControl; fd <= protocol.FDChanges; fd++ {
		unix.CloseOnExec(fd)
	}
	if err := endure(); err != nil {
		return err
	}
	var cfg protocol.Config
	if err := json.NewDecoder(control).Decode(&cfg); err != nil {
		return fmt.Errorf("read the config: %w", err)
	}
	for _, fd := range cfg.Opened {
		unix.CloseOnExec(fd)
	}
	p := &process{cfg: &cfg, control: control,
		tree: os.NewFile(protocol.FDTree, "tree"), changes: os.NewFile(protocol.FDChanges, "changes")}
	rep, err := p.do()
	if err != nil {
		rep = protocol.Failure(err)
		rep.Unread = errors.Is(err, worktree.ErrUnread)
	}
	return json.NewEncoder(control).Encode(&rep)
}

// endure has the kernel drop signals that the step sends to this process, as it does for
// the first process of a namespace with signals left at their default: Go's runtime would
// end it at many of them.
func endure() error {
	for s := unix.SIGHUP; s <= unix.SIGSYS; s++ {
		switch s {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGURG: // the last is the runtime's own
			continue
		}
		if err := kernel.ByDefault(s); err != nil {
			return err
		}
	}
	return nil
}

// process is the first process.
type process struct {
	cfg           *protocol.Config
	control       *os.File
	tree, changes *os.File
	// work is the working directory's descriptor.
	work int
	// written is the tree in which the step's changes are found.
	written  worktree.Tree
	records  *fakeroot.Records
	emulator *fakeroot.Emulator
	// ways are the ways by which calls get to the emulator.
	ways fakeroot.Ways
	gate *gate
}

func (p *process) do() (protocol.Report, error) {
	var err error
	if p.work, err = unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return protocol.Report{}, fmt.Errorf("open the working directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(p.work, &st); err != nil || !p.cfg.Remove && (st.Dev != p.cfg.WorkDev || st.Ino != p.cfg.WorkIno) {
		return protocol.Report{}, errors.New("the directory for the tree is another than was made: let TMPDIR be a directory that others cannot write to")
	}
	if err := p.become(); err != nil {
		return protocol.Report{}, fmt.Errorf("become the sandbox's first user: %w", err)
	}
	if p.cfg.Remove {
		return protocol.Report{}, rmtree.Below(p.work)
	}
	p.ways = fakeroot.FindWays()
	rep, err := p.runStep()
	p.changes.Close()
	if removeErr := rmtree.Below(p.work); !rep.Failed() { // otherwise the step may be what keeps us from it
		err = errors.Join(err, removeErr)
	}
	return rep, err
}

// become switches to the user of this process in its namespace, which it may not have been
// before the maps were written.
func (p *process) become() error {
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
	// A change of users would reset both.
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
