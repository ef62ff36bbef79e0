package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varve-image/varve/sandbox"
)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testErrors: how a step can end otherwise.
func testErrors(t *testing.T, s *suite) {
	base := Busybox(t)
	t.Run("exit code", func(t *testing.T) {
		step := Script(base, "for i in $(seq 1 100); do echo line $i; done; echo last >&2; exit 7")
		step.Stdout = new(bytes.Buffer)
		step.Stderr = step.Stdout // which is how what is written to both stays in order
		o := s.run(t.Context(), t, step)
		var failed *sandbox.StepError
		if !errors.As(o.err, &failed) || failed.ExitCode != 7 || failed.Name != "test" {
			t.Fatalf("error %v", o.err)
		}
		if n := len(failed.LastLines); n != sandbox.MaxLastLines || failed.LastLines[n-1] != "last" {
			t.Errorf("last lines: %q", failed.LastLines)
		}
	})
	t.Run("set -e", func(t *testing.T) {
		o := s.run(t.Context(), t, Script(base, "false\ntouch here"))
		var failed *sandbox.StepError
		if !errors.As(o.err, &failed) || failed.ExitCode != 1 {
			t.Fatalf("error %v", o.err)
		}
	})
	t.Run("signal", func(t *testing.T) {
		o := s.run(t.Context(), t, Script(base, "kill -SEGV $$"))
		var failed *sandbox.StepError
		if !errors.As(o.err, &failed) || failed.Signal != syscall.SIGSEGV {
			t.Fatalf("error %v", o.err)
		}
	})
	for name, change := range map[string]func(*sandbox.Step){
		"no such program":    func(s *sandbox.Step) { s.Argv[0] = "/bin/no-such" },
		"not in PATH":        func(s *sandbox.Step) { s.Argv[0] = "no-such" },
		"no such directory":  func(s *sandbox.Step) { s.Dir = "/no-such" },
		"a directory to run": func(s *sandbox.Step) { s.Argv[0] = "/etc" },
	} {
		t.Run(name, func(t *testing.T) {
			step := Script(base, "true")
			change(step)
			o := s.run(t.Context(), t, step)
			var failed *sandbox.StepError
			if o.err == nil || errors.As(o.err, &failed) || !strings.Contains(o.err.Error(), "test") {
				t.Errorf("error %v", o.err)
			}
		})
	}
	t.Run("limits", func(t *testing.T) { testLimits(t, s) })
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no longer wanted")
		var at time.Time
		step := Script(base, "echo started; trap '' TERM INT; (trap '' TERM; sleep 1000) & sleep 1000")
		step.Stdout = writerFunc(func([]byte) { at = time.Now(); cancel(why) })
		o := s.run(ctx, t, step)
		if took := time.Since(at); took > 3*time.Second {
			t.Errorf("it took %v to end", took)
		}
		if !errors.Is(o.err, why) {
			t.Errorf("error %v", o.err)
		}
	})
}

type writerFunc func([]byte)

func (w writerFunc) Write(p []byte) (int, error) { w(p); return len(p), nil }

// testLimits: each limit ends a step, or the call that meets it.
func testLimits(t *testing.T, s *suite) {
	base := With(Busybox(t), Probe(t))
	for _, c := range []struct {
		name, script string
		limits       sandbox.Limits
		word         string
	}{
		{"time", "sleep 1000", sandbox.Limits{Time: 500 * time.Millisecond}, "500ms"},
		{"output", "yes", sandbox.Limits{Output: 1 << 20}, "output"},
		{"memory", "for i in 1 2 3 4 5 6 7 8; do probe memory 32 private & done; wait", sandbox.Limits{Memory: 64 << 20}, "64 MiB of memory"},
		{"memory that is shared", "probe memory 100 shared", sandbox.Limits{Memory: 64 << 20}, "64 MiB of memory"},
		{"memory of files without a name", "probe memory 100 memfd", sandbox.Limits{Memory: 64 << 20}, "64 MiB of memory"},
		{"memory of segments", "probe memory 100 segments", sandbox.Limits{Memory: 64 << 20}, "64 MiB of memory"},
		{"memory of a process without its first thread", "probe memory 100 leaderless", sandbox.Limits{Memory: 64 << 20}, "64 MiB of memory"},
		{"memory in files", "dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null; sleep 100", sandbox.Limits{Memory: 64 << 20}, "64 MiB of memory"},
		{"disk", "for i in $(seq 1 100); do dd if=/dev/zero of=/f$i bs=1M count=4 2>/dev/null; done; sleep 100", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"disk of deleted files", "for i in 3 4 5; do eval \"exec $i>/f\"; rm /f; dd if=/dev/zero bs=1M count=20 2>/dev/null >&$i; done; sleep 100", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"disk of files that lie deep", "mkdir -p $(printf 'd/%.0s' $(seq 150)); cd $(printf 'd/%.0s' $(seq 150)); for i in 1 2 3; do dd if=/dev/zero of=f$i bs=1M count=20 2>/dev/null; done; sleep 100", sandbox.Limits{Disk: 32 << 20}, "32 MiB of disk"},
		{"some more processes", "for i in $(seq 1 70); do sleep 100 & done; sleep 100", sandbox.Limits{Processes: 60}, "60 processes"},
		{"holes in files", "for i in 1 2 3; do dd if=/dev/null of=/f$i bs=1M seek=20 2>/dev/null; done", sandbox.Limits{Disk: 32 << 20}, `32 MiB of disk: with its holes "f2" is 20 MiB`},
	} {
		t.Run(c.name, func(t *testing.T) {
			step := Script(base, c.script)
			step.Limits = c.limits
			if step.Limits.Time == 0 {
				step.Limits.Time = 2 * time.Minute // or a limit that is not met would be waited for
			}
			o := s.run(t.Context(), t, step)
			var limit *sandbox.LimitError
			if !errors.As(o.err, &limit) || !strings.Contains(o.err.Error(), c.word) {
				t.Errorf("error %v", o.err)
			}
		})
	}
	t.Run("within all", func(t *testing.T) {
		step := Script(base, "dd if=/dev/zero of=/f bs=1M count=4 2>/dev/null; probe memory 16 private & probe memory 16 shared & sleep 0.2; killall probe; rm /f")
		step.Limits = sandbox.Limits{Time: 10 * time.Minute, Memory: 64 << 20, Disk: 32 << 20, Processes: 100, Output: 1000}
		s.run(t.Context(), t, step).must(t)
	})
	t.Run("many more processes", func(t *testing.T) {
		step := Script(base, "for i in $(seq 1 200); do sleep 100 & done; exit 0")
		step.Limits.Processes = 60
		o := s.run(t.Context(), t, step)
		if o.err == nil {
			t.Errorf("200 processes where 60 are allowed")
		}
	})
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
