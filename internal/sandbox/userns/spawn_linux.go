//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/limits"
)

// scriptName is where a step finds its script.
const scriptName = "/dev/varve-script"

// runStep makes the sandbox, runs the step in it and sends what it changed.
func (p *firstProc) runStep() (report, error) {
	var err error
	if p.gate, err = newGate(p.cfg.Terminal); err != nil {
		return report{}, err
	}
	m, err := p.setUp()
	defer m.detach()
	if err != nil {
		return report{}, err
	}
	if err := p.settle(); err != nil {
		return report{}, err
	}
	if err := p.startEmulator(); err != nil {
		return report{}, err
	}
	rep, err := p.runProgram()
	if err != nil || rep.failed() {
		return rep, err
	}
	p.records.Written()
	return rep, p.written.Collect(p.changes, p.records, m.made, p.cfg.Limits.Disk)
}

// startEmulator makes the emulator, now that all is mounted.
func (p *firstProc) startEmulator() (err error) {
	opts := fakeroot.Options{FakeRoot: p.cfg.FakeRoot, TreeDir: p.treeDir(), Tree: p.written.Dir, Temporary: temporary(p.cfg.Root)}
	p.emulator, err = fakeroot.New(p.records, opts)
	if err != nil {
		return fmt.Errorf("look at what the step is to see: %w", err)
	}
	return nil
}

// temporary are the directories that are the sandbox's own and not the tree's,
// in memory.
func temporary(root sandbox.Root) []string {
	if root == sandbox.HostTools {
		return []string{"/dev/shm", "/tmp"}
	}
	return []string{"/dev/shm"} // elsewhere /tmp is the tree's
}

// runProgram runs the step's program to its end, and all that it has started.
func (p *firstProc) runProgram() (rep report, err error) {
	w, err := limits.New(limits.Options{
		Limits: p.cfg.Limits, Tree: p.written, Temporary: temporary(p.cfg.Root), OwnNetwork: p.cfg.Network == sandbox.NetworkNone,
	})
	if err != nil {
		return report{}, fmt.Errorf("watch what the step uses: %w", err)
	}
	runtime.LockOSThread() // it may be a tracer
	defer runtime.UnlockOSThread()
	pid, err := p.spawn()
	if err != nil {
		return report{}, err
	}
	w.Start()
	defer w.Stop()
	go p.endWithCaller()
	rep = p.wait(pid)
	if failed := <-p.gate.failed; failed.failed() {
		rep = failed
	}
	if limit := w.Reached(); limit != nil {
		rep = failure(limit)
	}
	return rep, nil
}

// endWithCaller ends the step when the caller is gone, which closes its end of the
// socket. It is there for a caller that the kernel does not end us with.
func (p *firstProc) endWithCaller() {
	_, _ = io.Copy(io.Discard, p.control)
	_ = unix.Kill(-1, unix.SIGKILL) // there may be none
}

// treeDir is where the tree is mounted.
func (p *firstProc) treeDir() string {
	if p.cfg.Root == sandbox.HostTools {
		return sandbox.TreeDir
	}
	return "/"
}

// settle does what is left to be done in the namespaces.
func (p *firstProc) settle() error {
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

// spawn has the process at the gate become the step's program.
func (p *firstProc) spawn() (int, error) {
	cfg := p.cfg
	if err := checkDir(cfg.Dir); err != nil {
		return 0, err
	}
	program, err := findProgram(cfg.Argv[0], cfg.Env)
	if err != nil {
		return 0, err
	}
	if err := checkProgram(program, cfg.Dir); err != nil {
		return 0, err
	}
	argv := cfg.Argv
	if cfg.Script != "" {
		argv = append(append([]string(nil), argv...), scriptName)
	}
	o := &order{Program: program, Argv: argv, Env: cfg.Env, Dir: cfg.Dir, FakeRoot: cfg.FakeRoot, Limits: cfg.Limits}
	o.Listen = p.ways.Listens()
	o.Filter = p.emulator.Filter(p.ways)
	if p.ways.Traced() {
		if err := p.gate.trace(); err != nil {
			return 0, err
		}
	}
	p.gate.open(o, p.emulator)
	return p.gate.pid, limits.Seal(p.gate.pid, cfg.Limits)
}

// findProgram finds a program as execvp(3) does.
func findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var dirs string
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			dirs = value
		}
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		if !path.IsAbs(dir) {
			continue
		}
		file := path.Join(dir, name)
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("the program %q is in none of the directories %q", name, dirs)
}

// kept are the capabilities that fake root has, over what is in the namespace.
func kept() []uintptr {
	return []uintptr{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_SETGID,
		unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT, unix.CAP_SETFCAP,
		unix.CAP_AUDIT_WRITE, unix.CAP_MKNOD,
	}
}

// restrict takes from the calling thread, and from what it starts, all that a
// step must not have. It returns what installing its filter does.
func restrict(o *order) (listener int, err error) {
	if err := limits.Set(o.Limits); err != nil {
		return -1, err
	}
	// A signal that the caller ignores would be ignored by the step.
	for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGINT} {
		if err := byDefault(s); err != nil {
			return -1, err
		}
	}
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return -1, fmt.Errorf("close files: %w", err)
	}
	// Keys that the caller has stay behind.
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
		return -1, lackKernel("filter system calls", err)
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
	for c := range lastCapability() + 1 {
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

// wait reaps processes until the step's own ends, and then ends all others.
func (p *firstProc) wait(pid int) report {
	var rep report
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
		switch {
		case got != pid:
			continue
		}
		rep.ExitCode = status.ExitStatus()
		if status.Signaled() {
			rep.ExitCode, rep.Signal = 0, int(status.Signal())
		}
		_ = unix.Kill(-1, unix.SIGKILL) // there may be none
	}
}
