//go:build amd64

package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/tree"
)

// init makes this program a hostile guest where it is the first process of a virtual
// machine: what a step could make of a guest that it has taken over.
func init() {
	if os.Getpid() != 1 || os.Args[0] != initPath {
		return
	}
	if err := hostileGuest(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// hostileGuest does what the step's script says.
func hostileGuest() error {
	text, err := os.ReadFile(requestPath)
	if err != nil {
		return err
	}
	var req request
	if err := json.Unmarshal(text, &req); err != nil {
		return err
	}
	if err := errors.Join(mountKernel("/"), loadModules(req.Modules)); err != nil {
		return err
	}
	port, err := openPort(stepPort)
	if err != nil {
		return err
	}
	files, err := openPort(filesPort)
	if err != nil {
		return err
	}
	step, asks := &frameWriter{w: port}, &frameWriter{w: files}
	switch req.Step.Script {
	case "silence":
		select {}
	case "report first":
		return errors.Join(step.writeJSON(frameReport, report{Changes: 1024}), wait(port))
	case "nonsense":
		return errors.Join(step.write(frameHello, nil), asks.write(frameAsk, []byte("null")), wait(port))
	case "secret":
		return errors.Join(step.write(frameHello, nil), readShare(files, step), wait(port))
	}
	if err := step.write(frameHello, nil); err != nil {
		return err
	}
	return flood(step, asks)
}

// wait keeps the machine until the host ends it.
func wait(port io.Reader) error {
	_, err := io.Copy(io.Discard, port)
	return err
}

// readShare asks for the content of the first share, whatever its mode, and reports the
// result as the step's error.
func readShare(files io.ReadWriter, step *frameWriter) error {
	_, data, err := newFileClient(files).ask(question{Op: opRead, Size: 100})
	return step.writeJSON(frameReport, report{Error: fmt.Sprintf("read %q: %v", data, err)})
}

// flood writes to everything that the host listens to, as fast as it can, and never reads.
func flood(step, asks *frameWriter) error {
	errs := make(chan error)
	go func() {
		for {
			fmt.Fprintln(os.Stderr, strings.Repeat("x", 10_000))
		}
	}()
	go func() {
		for {
			if err := step.write(frameStdout, make([]byte, maxFrame)); err != nil {
				errs <- err
			}
		}
	}()
	go func() {
		for {
			if err := asks.writeJSON(frameAsk, question{Op: opRead, Size: maxRead}); err != nil {
				errs <- err
			}
		}
	}()
	return <-errs
}

// guestProgram returns this test program, without shared libraries.
func guestProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "guest")
	cmd := exec.Command("go", "test", "-c", "-o", name, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build a guest: %v\n%s", err, out)
	}
	return name
}

// TestHostileGuest: a guest that is under the attacker's control from its first process on
// gets no further than a step, and its host neither waits nor grows.
func TestHostileGuest(t *testing.T) {
	NeedMachine(t)
	guest := guestProgram(t)
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/secret", []byte("canary"), 0o600), os.WriteFile(dir+"/large", make([]byte, 2*maxRead), 0o644))
	root := kernelRoot(uint32(os.Geteuid()))
	for _, c := range []struct {
		does, share, want string
		boot              time.Duration
	}{
		{does: "silence", boot: time.Second, want: "did not start within 1s"},
		{does: "report first", want: "before it was there"},
		{does: "nonsense", want: `"null", which makes no sense`},
		{does: "secret", share: "secret", want: map[bool]string{true: "permission denied", false: "canary"}[root]},
		{does: "flood", share: "large", want: "its limit of 5s of time"},
	} {
		t.Run(c.does, func(t *testing.T) {
			step := &sandbox.Step{
				Name: "test", Tree: []*tree.Entry{{Path: ".", Type: tree.Dir, Mode: 0o755}}, Argv: []string{"/x"}, Script: c.does,
				Limits: sandbox.Limits{Time: time.Minute}, Binds: []sandbox.Bind{{Source: filepath.Join(dir, c.share), Target: "/mnt"}},
			}
			var written counter
			step.Stdout = &written
			if c.does == "flood" {
				step.Limits.Time = 5 * time.Second
				step.Stdin = &endless{data: []byte("y\n")} // never read
			}
			before := heap()
			_, err := New(Options{Options: sandbox.Options{TempDir: t.TempDir()}, Init: guest, BootTime: c.boot}).Run(t.Context(), step)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if grown := heap() - before; grown > 16<<20 {
				t.Errorf("the host grew by %d MiB", grown>>20)
			}
			if c.does == "flood" && written == 0 {
				t.Error("nothing came of the flood")
			}
		})
	}
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
