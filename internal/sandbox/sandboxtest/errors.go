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

	"github.com/varve-image/varve/internal/sandbox"
)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testErrors: the other ways in which a step can end.
func testErrors(t *testing.T, s *suite) {
	base := Busybox(t)
	t.Run("exit code", func(t *testing.T) {
		step := Script(base, "for i in $(seq 1 100); do echo line $i; done; echo last >&2; exit 7")
		step.Stdout = new(bytes.Buffer)
		step.Stderr = step.Stdout // this keeps what is written to both in order
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

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
