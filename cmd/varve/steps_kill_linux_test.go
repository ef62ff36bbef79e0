package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/testtools"
)

// stepMark is in the environment of the scripts that the tests here run, so
// that their processes are found.
const stepMark = "VARVE_TEST_MARK="

// killedSteps is a build with a script, killed at one moment or another.
type killedSteps struct {
	dir, temp string
	mark      string
	user      stepsUser
}

// newKilledSteps makes what to build. The script starts processes that would
// stay if they could.
func newKilledSteps(t *testing.T, u stepsUser) killedSteps {
	t.Helper()
	testtools.NeedRoot(t)
	k := killedSteps{dir: openDir(t, ""), temp: openDir(t, ""), user: u, mark: fmt.Sprintf("%s%d-%d", stepMark, os.Getpid(), rand.Int64())}
	must(t, os.Chmod(k.temp, 0o777), os.Chmod(k.dir, 0o777))
	busybox, err := os.ReadFile(testtools.Need(t, "busybox"))
	must(t, err)
	put(t, filepath.Join(k.dir, "tree/bin/busybox"), string(busybox), 0o755)
	must(t, os.Symlink("busybox", filepath.Join(k.dir, "tree/bin/sh")))
	put(t, filepath.Join(k.dir, "image.yaml"), fmt.Sprintf(`
name: killed
copyToRoot: [tree]
keepContentsDirlinks: true
runAsRoot: |
  export %s
  /bin/busybox --install -s /bin
  export PATH=/bin
  (trap '' HUP INT TERM; exec setsid sleep 1000) >/dev/null 2>&1 &
  (while ! test -e /stop; do mkdir -p /some/directory; echo x > /some/directory/file; rm -r /some; done) &
  writer=$!
  dd if=/dev/zero of=/large bs=64k count=64 2>/dev/null
  chmod 000 /large
  touch /stop
  wait $writer
  rm /stop
`, k.mark), 0o644)
	put(t, filepath.Join(k.dir, "forever.yaml"), fmt.Sprintf(`
name: forever
copyToRoot: [tree]
keepContentsDirlinks: true
runAsRoot: |
  export %s
  trap '' HUP INT TERM
  busybox setsid busybox sleep 1000 &
  echo started
  while :; do busybox sleep 1000; done
`, k.mark), 0o644)
	return k
}

func (k killedSteps) command(t *testing.T, spec string, args ...string) *exec.Cmd {
	t.Helper()
	cmd, _ := k.user.command(t, k.dir, append([]string{"build", spec, "--no-cache", "-o", "out.tar"}, args...)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+k.temp, "PATH="+os.Getenv("PATH")+":/bin")
	return cmd
}

// processes returns those that a build started: the program run again as the first
// of a step, and what a script started.
func (k killedSteps) processes(t *testing.T) (found []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, dir := range dirs {
		exe, _ := os.Readlink(filepath.Join(dir, "exe")) // it may have ended
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if exe == shipped.get(t) || strings.Contains(string(environ), k.mark) {
			found = append(found, filepath.Base(dir)+" "+exe)
		}
	}
	return found
}

// mounts returns this process's mounts that belong to a build.
func (k killedSteps) mounts(t *testing.T) (found []string) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, k.temp) || strings.Contains(line, k.dir) {
			found = append(found, line)
		}
	}
	return found
}

// checkGone fails unless the processes of a build are gone soon, and it has no
// mount.
func (k killedSteps) checkGone(t *testing.T, what string) {
	t.Helper()
	end := time.Now().Add(deadline)
	left := k.processes(t)
	for ; len(left) > 0 && time.Now().Before(end); left = k.processes(t) {
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("%s: processes left: %q", what, left)
	}
	if left := k.mounts(t); len(left) > 0 {
		t.Errorf("%s: mounts left: %q", what, left)
	}
}

// checkNext: the next build makes the image, and removes what is left.
func (k killedSteps) checkNext(t *testing.T, what, want string) {
	t.Helper()
	out := filepath.Join(k.dir, "out.tar")
	if _, err := os.Stat(out); err == nil && fingerprint(t, out, false) != want {
		t.Errorf("%s: an unfinished image has its final name", what)
	}
	if o := run(t, k.command(t, "image.yaml")); o.code != 0 {
		t.Fatalf("%s: the next build: exit code %d: %s", what, o.code, o.stderr)
	}
	if fingerprint(t, out, false) != want {
		t.Errorf("%s: the next build makes another image", what)
	}
	if left := names(k.temp); len(left) > 0 {
		t.Errorf("%s: left in TMPDIR: %q", what, left)
	}
	if left := names(k.dir); !slices.Equal(left, []string{"forever.yaml", "image.yaml", "out.tar", "tree"}) {
		t.Errorf("%s: there is %q", what, left)
	}
	must(t, os.Remove(out))
}

// whole makes the image without being killed, and removes it; it returns the image's fingerprint
// and the time taken.
func (k killedSteps) whole(t *testing.T) (want string, took time.Duration) {
	t.Helper()
	o := run(t, k.command(t, "image.yaml"))
	if o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	out := filepath.Join(k.dir, "out.tar")
	want = fingerprint(t, out, false)
	must(t, os.Remove(out))
	return want, o.took
}

// TestKillSteps: kill -9 at any moment of a build with a script leaves no
// process and no mount, and no file after the next one.
func TestKillSteps(t *testing.T) {
	rounds := 4
	if sweep {
		rounds = 100
	}
	for _, u := range stepsUsers {
		t.Run(u.name, func(t *testing.T) {
			k := newKilledSteps(t, u)
			want, took := k.whole(t)
			reclaimed := 0
			for range rounds {
				after := time.Duration(rand.Int64N(int64(took)))
				what := fmt.Sprintf("killed after %v", after)
				signalled(t, k.command(t, "image.yaml"), after, syscall.SIGKILL)
				k.checkGone(t, what)
				reclaimed += len(names(k.temp))
				k.checkNext(t, what, want)
			}
			t.Logf("%d builds of %v killed, %d files reclaimed", rounds, took.Round(time.Millisecond), reclaimed)
		})
	}
}

// TestKillStepsAtStart: so does kill -9 at any of the system calls that prepare the script's
// directory, in a TMPDIR where others can rename it.
func TestKillStepsAtStart(t *testing.T) {
	strace := testtools.Need(t, "strace")
	for _, u := range stepsUsers {
		t.Run(u.name, func(t *testing.T) {
			k := newKilledSteps(t, u)
			want, _ := k.whole(t)
			for _, call := range []string{"flock", "fchmod", "fchown"} {
				cmd := k.command(t, "image.yaml")
				args := []string{strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call, "-e", "inject=" + call + ":signal=SIGKILL:when=1", cmd.Path}
				cmd.Path, cmd.Args = strace, append(args, cmd.Args[1:]...)
				o := run(t, cmd)
				if strings.Contains(o.stderr, "ptrace") {
					testtools.Lack(t, "strace cannot trace here: %s", o.stderr)
				}
				what := "killed at " + call
				k.checkGone(t, what)
				if call == "flock" && len(names(k.temp)) == 0 { // otherwise there is nothing to test
					t.Errorf("%s: nothing is left: exit code %d: %s", what, o.code, o.stderr)
				}
				k.checkNext(t, what, want)
			}
		})
	}
}

// TestInterruptSteps: SIGINT and SIGTERM end a build whose script ignores them,
// and nothing is left of it. It takes 2 seconds at most; the rest is for a busy
// machine.
func TestInterruptSteps(t *testing.T) {
	users := stepsUsers
	if sweep {
		users = append(slices.Clone(users), needVM(t))
	}
	for _, u := range users {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(u.name+" "+sig.String(), func(t *testing.T) {
				k := newKilledSteps(t, u)
				var args []string
				if u.name == "virtual machine" {
					args = []string{"--isolation", "vm"}
				}
				code, took, text := k.interrupt(t, sig, args...)
				t.Logf("it ended %v after the signal", took.Round(time.Millisecond))
				if code != 130 || took > deadline {
					t.Errorf("exit code %d after %v, want 130: %s", code, took, text)
				}
				mustFind(t, text, "varve: interrupted")
				k.checkGone(t, "interrupted")
				if left := slices.Concat(names(k.temp), k.outputs()); len(left) > 0 {
					t.Errorf("left: %q", left)
				}
			})
		}
	}
}

// outputs returns the existing files of the image.
func (k killedSteps) outputs() []string {
	return slices.DeleteFunc(names(k.dir), func(name string) bool { return strings.HasSuffix(name, ".yaml") || name == "tree" })
}

// interrupt sends a signal to a build whose script has started.
func (k killedSteps) interrupt(t *testing.T, sig syscall.Signal, args ...string) (code int, took time.Duration, stderr string) {
	t.Helper()
	cmd := k.command(t, "forever.yaml", args...)
	pipe, err := cmd.StderrPipe()
	must(t, err, cmd.Start())
	timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var text strings.Builder
	lines := bufio.NewScanner(pipe)
	for lines.Scan() && !strings.Contains(lines.Text(), "started") {
		text.WriteString(lines.Text() + "\n")
	}
	start := time.Now()
	must(t, cmd.Process.Signal(sig))
	_, err = io.Copy(&text, pipe)
	must(t, err)
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), time.Since(start), text.String()
}
