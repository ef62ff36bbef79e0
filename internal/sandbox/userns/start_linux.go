//go:build amd64 || arm64

package userns

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/kernel"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

// process is the first process of new namespaces.
type process struct {
	cmd     *exec.Cmd
	control *net.UnixConn
	// done is closed once it has ended; err says how.
	done chan struct{}
	err  error
}

// stdio holds the files for standard input, output and error.
type stdio [3]*os.File

// startProcess runs this program again as the first process of new namespaces, in the
// directory dir, and tells it what to do. files become its further files, from fdTree on.
// They and the files of io are closed.
func startProcess(cfg *protocol.Config, ids *identities, dir string, io stdio, files ...*os.File) (*process, error) {
	defer closeAll(append(io[:], files...)...)
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p := &process{control: ours, done: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{protocol.InitName}, Env: []string{}, Dir: dir,
		Stdin: io[0], Stdout: io[1], Stderr: io[2],
		ExtraFiles:  append([]*os.File{theirs}, files...),
		SysProcAttr: attributes(cfg, ids),
	}
	started := make(chan error, 1)
	go p.keep(started)
	if err := <-started; err != nil {
		ours.Close()
		return nil, startError(err)
	}
	if err := p.tell(cfg, ids); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// keep starts the process and waits for its end, all on one thread: the process is killed
// when its thread ends, which can happen to other threads at any time.
func (p *process) keep(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		close(p.done)
	}
}

// tell sends the config.
func (p *process) tell(cfg *protocol.Config, ids *identities) error {
	c := *cfg
	c.User, c.Groups = ids.inside, ids.others
	if err := json.NewEncoder(p.control).Encode(&c); err != nil {
		return fmt.Errorf("tell the sandbox what to do: %w", err)
	}
	return nil
}

// kill ends the process and with it everything in its namespaces.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
	p.control.Close()
}

// attributes asks for the namespaces, over which the process has all capabilities.
func attributes(cfg *protocol.Config, ids *identities) *syscall.SysProcAttr {
	flags := unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWNET
	if cfg.Network == sandbox.NetworkHost {
		flags &^= unix.CLONE_NEWNET
	}
	attr := &syscall.SysProcAttr{
		Cloneflags: uintptr(flags), Pdeathsig: syscall.SIGKILL, Setsid: true,
		UidMappings: ids.uids(), GidMappings: ids.gids(), GidMappingsEnableSetgroups: ids.others,
	}
	for c := range kernel.LastCapability() + 1 {
		attr.AmbientCaps = append(attr.AmbientCaps, c)
	}
	return attr
}

func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "control")
	theirs := os.NewFile(uintptr(fds[1]), "control")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// startError explains why namespaces could not be made.
func startError(err error) error {
	hints := []string{
		"let users make namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, " +
			"or kernel.apparmor_restrict_unprivileged_userns=0",
		"in a container, start it with a seccomp profile that lets it make user namespaces",
		"choose `isolation: vm`",
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		// This is not about a disk: user namespaces are exhausted, or forbidden.
		err = errors.New("the machine allows no more user namespaces (user.max_user_namespaces)")
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		err = fmt.Errorf("the machine does not let this user make namespaces: %w", lastError(err))
	default:
		return fmt.Errorf("start the sandbox: %w", err)
	}
	return &lack.Error{Err: err, Hints: hints}
}

// lastError returns the system's own error, without its context.
func lastError(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// emptyWorkDir has the content of a working directory removed by a process that has the ids
// of its owners.
func emptyWorkDir(dir *workDir, ids *identities) error {
	null := make([]*os.File, 5)
	for i := range null {
		f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			closeAll(null...)
			return err
		}
		null[i] = f
	}
	p, err := startProcess(&protocol.Config{Remove: true}, ids, dir.open(), stdio(null[:3]), null[3], null[4])
	if err != nil {
		return err
	}
	defer p.control.Close()
	var rep protocol.Report
	err = json.NewDecoder(p.control).Decode(&rep)
	<-p.done
	switch {
	case err != nil:
		return fmt.Errorf("the sandbox ended early: %w", p.err)
	case rep.Error != "":
		return errors.New(strings.TrimSpace(rep.Error))
	}
	return nil
}
