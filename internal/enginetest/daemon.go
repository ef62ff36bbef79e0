package enginetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// startTimeout limits how long a daemon may take until it answers.
const startTimeout = time.Minute

// daemon is a process of the engines, in namespaces of its own.
type daemon struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// smallDisk is a variable with the path of a directory that becomes a disk of 48 MB.
const smallDisk = "VARVE_SMALL_DISK"

// namespaces returns the command prefix that runs a command in new namespaces; the
// options are unshare's. Mounts below it vanish with the last process, and are
// never seen outside.
func namespaces(options ...string) []string {
	// A private /run: shims, Docker and runc write into /run/containerd,
	// /run/docker and /run/runc whatever their state directory is.
	const script = `mount -t tmpfs -o mode=755 tmpfs /run &&
if [ -n "$` + smallDisk + `" ]; then mount -t tmpfs -o size=48m tmpfs "$` + smallDisk + `"; fi && exec "$@"`
	argv := append([]string{"unshare", "--mount", "--propagation", "private"}, options...)
	return append(argv, "--", "sh", "-c", script, "sh")
}

// startDaemon starts a daemon, which writes to log, and waits until ready
// gives no error. The daemon is killed when this process ends.
func startDaemon(log string, ready func() error, env []string, argv ...string) (*daemon, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make a log for %s: %w", filepath.Base(argv[0]), err)
	}
	defer file.Close()
	// As the first process of a process namespace: its end is the end of all.
	argv = append(namespaces("--pid", "--fork", "--kill-child", "--mount-proc"), argv...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, file, file
	cmd.SysProcAttr = dieWithParent()
	d := &daemon{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The signal for the parent's death is tied to the thread that started
		// the process, so that thread has to live on.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(d.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	if err := d.wait(ready); err != nil {
		d.stop()
		return nil, fmt.Errorf("%w; its log ends:\n%s", err, tail(log))
	}
	return d, nil
}

// wait waits until ready gives no error, the daemon ends, or the time is up.
func (d *daemon) wait(ready func() error) error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer in %v: %w", startTimeout, err)
		}
		select {
		case <-d.exited:
			return errors.New("the daemon ended at once")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop kills the daemon with everything it started, by its own process id. None of
// its state is needed, so it is not asked first.
func (d *daemon) stop() {
	_ = d.cmd.Process.Kill()
	<-d.exited
}

// tail returns the end of the file at path.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4096):])
}

// find returns the path of the first of the programs that exists.
func find(programs ...string) (string, error) {
	for _, p := range programs {
		if path, err := exec.LookPath(p); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s is not installed", errMissing, filepath.Base(programs[0]))
}

// need returns an error unless this is root on Linux with the programs.
func need(programs ...string) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: engines are run on Linux only", errMissing)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: engines need root (this is user %d)", errMissing, os.Geteuid())
	}
	for _, p := range append([]string{"unshare"}, programs...) {
		if _, err := find(p); err != nil {
			return err
		}
	}
	return nil
}

// overlayWorks reports whether overlayfs can be mounted in dir: it cannot if dir is
// itself on overlayfs, as in most containers.
func overlayWorks(dir string) bool {
	for _, sub := range []string{"lower", "upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return false
		}
	}
	argv := append(namespaces(), "mount", "-t", "overlay",
		"-o", "lowerdir=lower,upperdir=upper,workdir=work", "overlay", "merged")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	return cmd.Run() == nil
}

// environment returns all variables that engines and their clients see.
func environment(dir string, extra ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir,
		"TMPDIR=" + dir,
		"LC_ALL=C.UTF-8",
	}, extra...)
}
