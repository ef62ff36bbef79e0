package main

import (
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

// signalled runs a command and sends it a signal after a while. took counts
// from the signal.
func signalled(t *testing.T, cmd *exec.Cmd, after time.Duration, sig syscall.Signal) outcome {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	time.Sleep(after)
	start := time.Now()
	_ = cmd.Process.Signal(sig) // it may have ended by itself
	timer := time.AfterFunc(2*deadline, func() { cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return outcome{code: cmd.ProcessState.ExitCode(), stderr: stderr.String(), took: time.Since(start)}
}

// interrupted is signalled for a signal that varve handles: if the signal came too
// early and ended varve like any other program, it tries again with a longer delay.
func interrupted(t *testing.T, command func() *exec.Cmd, after time.Duration, sig syscall.Signal) outcome {
	t.Helper()
	for {
		o := signalled(t, command(), after, sig)
		if o.code != -1 || after > 2*time.Second {
			return o
		}
		after = after*3/2 + time.Millisecond
	}
}

// interruptTime is how soon varve has to end after a signal. It takes 2 seconds at
// most; the rest is for a busy machine.
const interruptTime = 3 * time.Second

// TestInterrupt: a signal ends a build to any destination soon, with exit code
// 130, and leaves no file behind.
func TestInterrupt(t *testing.T) {
	dir := faultTree(t, 24<<20)
	// A hole of this size takes many seconds to hash.
	put(t, filepath.Join(dir, "hole"), "", 0o644)
	must(t, os.Truncate(filepath.Join(dir, "hole"), 64<<30))
	full := mustRun(t, dir, "build", "image.yaml", "-o", "timed.tar.gz").took
	for _, d := range destinations {
		for name, c := range map[string]struct {
			sig    syscall.Signal
			source string
			after  time.Duration
		}{
			"hashing, SIGINT":  {syscall.SIGINT, "hole", 150 * time.Millisecond},
			"hashing, SIGTERM": {syscall.SIGTERM, "hole", 150 * time.Millisecond},
			"early":            {syscall.SIGINT, "noise", max(full/8, 50*time.Millisecond)},
			"in the middle":    {syscall.SIGTERM, "noise", full / 2},
			"late":             {syscall.SIGINT, "noise", full * 7 / 8},
		} {
			t.Run(d.name+" "+name, func(t *testing.T) {
				var o outcome
				for after := c.after; ; after /= 2 {
					o = interrupted(t, func() *exec.Cmd {
						return varve(t, dir, "build", "--name", "hello", "--copy", c.source, "--no-cache", "-o", fmt.Sprintf(d.dest, "out"))
					}, after, c.sig)
					if o.code != 0 || after < time.Millisecond {
						break
					}
					must(t, os.RemoveAll(filepath.Join(dir, "out", d.file))) // it was done before the signal came
				}
				if o.code != 130 || o.took > interruptTime {
					t.Errorf("exit code %d after %v, want 130: %s", o.code, o.took, o.stderr)
				}
				mustFind(t, o.stderr, "varve: interrupted")
				checkEmpty(t, dir)
			})
		}
	}
}

// TestInterruptCompressing: so does a signal while a compressor holds many seconds' work,
// which is for nobody then.
func TestInterruptCompressing(t *testing.T) {
	dir := faultTree(t, 96<<20)
	noise, err := os.ReadFile(filepath.Join(dir, "noise"))
	must(t, err)
	for i := range noise {
		noise[i] &= 0x1f // short matches everywhere, for which the compressor searches long
	}
	must(t, os.WriteFile(filepath.Join(dir, "noise"), noise, 0o644))
	for _, after := range []time.Duration{0, 300 * time.Millisecond, 600 * time.Millisecond, 900 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			cmd := varve(t, dir, "build", "image.yaml", "-q", "--compressor", "zstd:19", "-o", "oci:out/layout")
			must(t, cmd.Start())
			for end := time.Now().Add(deadline); len(names(filepath.Join(dir, "out"))) == 0 && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond) // it hashes first
			}
			time.Sleep(after)
			start := time.Now()
			must(t, cmd.Process.Signal(syscall.SIGINT))
			_ = cmd.Wait()
			if code, took := cmd.ProcessState.ExitCode(), time.Since(start); code != 130 || took > interruptTime {
				t.Errorf("exit code %d after %v, want 130", code, took)
			}
			checkEmpty(t, dir)
		})
	}
}

// TestInterruptWaiting: so does a signal while varve waits for somebody else: a
// reader that does not read, or a writer that does not write.
func TestInterruptWaiting(t *testing.T) {
	dir := faultTree(t, 8<<20)
	for _, args := range [][]string{
		{"stream", "image.yaml"}, {"build", "-"}, {"layers", "-"}, {"tarsum"}, {"inspect", "-"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			in, inWriter, err := os.Pipe()
			must(t, err)
			defer inWriter.Close()
			defer in.Close()
			outReader, out, err := os.Pipe()
			must(t, err)
			defer outReader.Close()
			defer out.Close()
			temp := openDir(t, "")
			o := interrupted(t, func() *exec.Cmd {
				cmd := varve(t, dir, args...)
				cmd.Env = append(cmd.Env, "TMPDIR="+temp)
				cmd.Stdin, cmd.Stdout = in, out
				return cmd
			}, 200*time.Millisecond, syscall.SIGINT)
			if o.code != 130 || o.took > interruptTime {
				t.Errorf("exit code %d after %v, want 130: %s", o.code, o.took, o.stderr)
			}
			if left := names(temp); len(left) > 0 {
				t.Errorf("left in TMPDIR: %q", left)
			}
		})
	}
}

// TestSecondSignal: whoever signals twice does not have to wait.
func TestSecondSignal(t *testing.T) {
	dir := faultTree(t, 8<<20)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd := varve(t, dir, "stream", "image.yaml")
	cmd.Stdout = w
	must(t, cmd.Start(), w.Close())
	_, err = io.ReadFull(r, make([]byte, 1))
	must(t, err, cmd.Process.Signal(syscall.SIGINT))
	time.Sleep(100 * time.Millisecond)
	start := time.Now()
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	if code, took := cmd.ProcessState.ExitCode(), time.Since(start); code != 130 || took > time.Second {
		t.Errorf("exit code %d after %v, want 130", code, took)
	}
}

// killing builds the same image over and over, killed at one moment or another.
type killing struct {
	dir  string
	want map[string]string // what each destination has in the end
}

func newKilling(t *testing.T) killing {
	t.Helper()
	k := killing{dir: faultTree(t, 4<<20), want: map[string]string{}}
	makeDirs(t, filepath.Join(k.dir, "tmp"))
	for _, d := range destinations {
		mustRun(t, k.dir, k.args(d.dest)...)
		k.want[d.name] = fingerprint(t, filepath.Join(k.dir, "out", d.file), false)
		must(t, os.RemoveAll(filepath.Join(k.dir, "out", d.file)))
	}
	return k
}

func (k killing) args(dest string) []string {
	return []string{"build", "image.yaml", "-q", "--no-cache", "--copy", "noise:/a", "--copy", "noise:/b", "-o", fmt.Sprintf(dest, "out")}
}

// check checks what a killed build left: no part of the image under its final name.
// Another build then makes all of it, and removes the rest.
func (k killing) check(t *testing.T, what, name, dest, file string) {
	t.Helper()
	out := filepath.Join(k.dir, "out")
	final := filepath.Join(out, file)
	_, err := os.Stat(final)
	if name == "oci" {
		_, err = os.Stat(filepath.Join(final, "index.json")) // this file makes it a layout
	}
	if err == nil && fingerprint(t, final, false) != k.want[name] {
		t.Errorf("%s: an unfinished image has its final name", what)
	}
	mustRun(t, k.dir, k.args(dest)...)
	if got := fingerprint(t, final, false); got != k.want[name] {
		t.Errorf("%s: the next build makes\n%s\nwant\n%s", what, got, k.want[name])
	}
	if left := names(out); !slices.Equal(left, []string{file}) {
		t.Errorf("%s: after the next build there is %q", what, left)
	}
	must(t, os.RemoveAll(final))
}

// TestKill: kill -9 at any moment loses nothing but work.
func TestKill(t *testing.T) {
	k := newKilling(t)
	rounds := 4
	if sweep {
		rounds = 200
	}
	for _, d := range destinations {
		t.Run(d.name, func(t *testing.T) {
			took := mustRun(t, k.dir, k.args(d.dest)...).took
			must(t, os.RemoveAll(filepath.Join(k.dir, "out", d.file)))
			for range rounds {
				after := time.Duration(rand.Int64N(int64(took)))
				cmd := varve(t, k.dir, k.args(d.dest)...)
				cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(k.dir, "tmp"))
				signalled(t, cmd, after, syscall.SIGKILL)
				k.check(t, fmt.Sprintf("killed after %v", after), d.name, d.dest, d.file)
				if left := names(filepath.Join(k.dir, "tmp")); len(left) > 0 {
					t.Errorf("left in TMPDIR: %q", left)
				}
			}
		})
	}
}

// commitCalls are the system calls that make an output durable and give it its name.
var commitCalls = []string{"fsync", "renameat", "linkat", "mkdirat"}

// injected runs varve under strace, which does what at the n-th of a system call in
// each thread. It reports whether there were n such calls.
func (k killing) injected(t *testing.T, strace string, command []string, call, what string, n int) (o outcome, happened bool) {
	t.Helper()
	log := filepath.Join(k.dir, "strace.log")
	args := []string{"-f", "-qq", "-o", log, "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call, what, n), shipped.get(t)}
	cmd := exec.Command(strace, append(args, command...)...)
	cmd.Dir = k.dir
	cmd.Env = []string{"TMPDIR=" + filepath.Join(k.dir, "tmp")}
	o = run(t, cmd)
	data, err := os.ReadFile(log)
	must(t, err)
	if strings.Contains(o.stderr, "ptrace") {
		testtools.Lack(t, "strace cannot trace here: %s", o.stderr)
	}
	return o, strings.Contains(string(data), "(INJECTED)") || strings.Contains(string(data), "killed by SIGKILL")
}

// TestKillAtCommit: the same for kill -9 at each of the system calls that complete the output.
func TestKillAtCommit(t *testing.T) {
	strace := testtools.Need(t, "strace")
	k := newKilling(t)
	for _, d := range destinations {
		for _, call := range commitCalls {
			t.Run(d.name+" "+call, func(t *testing.T) {
				for n := 1; ; n++ {
					_, happened := k.injected(t, strace, k.args(d.dest), call, "signal=SIGKILL", n)
					if !happened {
						must(t, os.RemoveAll(filepath.Join(k.dir, "out", d.file)))
						return
					}
					k.check(t, fmt.Sprintf("killed at %s %d", call, n), d.name, d.dest, d.file)
				}
			})
		}
	}
}

// TestErrorAtCommit: when one of those calls fails, varve does not report
// success, and leaves nothing.
func TestErrorAtCommit(t *testing.T) {
	strace := testtools.Need(t, "strace")
	k := newKilling(t)
	for _, d := range destinations {
		for _, call := range commitCalls {
			t.Run(d.name+" "+call, func(t *testing.T) {
				for n := 1; ; n++ {
					o, happened := k.injected(t, strace, k.args(d.dest), call, "error=EIO", n)
					if !happened {
						if o.code != 0 {
							t.Errorf("without the error: exit code %d: %s", o.code, o.stderr)
						}
						must(t, os.RemoveAll(filepath.Join(k.dir, "out", d.file)))
						return
					}
					if o.code != 1 {
						t.Errorf("%s %d failed: exit code %d, want 1: %s", call, n, o.code, o.stderr)
					}
					mustFind(t, o.stderr, d.file, "input/output error")
					k.check(t, fmt.Sprintf("%s %d failed", call, n), d.name, d.dest, d.file)
				}
			})
		}
	}
}
