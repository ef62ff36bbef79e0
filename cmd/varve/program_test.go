package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/testtools"
)

// shipped is the program in the form that users get: without the race detector,
// whose memory and signals differ.
var shipped program

// program is built when a test first asks for it.
type program struct {
	build sync.Once
	path  string
	err   error
}

// get returns the program's path, which every user may execute.
func (p *program) get(t testing.TB) string {
	t.Helper()
	goTool := testtools.Need(t, "go")
	p.build.Do(func() {
		dir, err := os.MkdirTemp("", "varve-program")
		if err != nil {
			p.err = err
			return
		}
		p.path = filepath.Join(dir, "varve")
		cmd := exec.Command(goTool, "build", "-buildvcs=false", "-o", p.path, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			p.err = fmt.Errorf("build varve: %w\n%s", err, out)
			return
		}
		p.err = errors.Join(os.Chmod(dir, 0o755), os.Chmod(p.path, 0o755))
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

// Around returns m with a Run that removes the program after the tests.
func (p *program) Around(m interface{ Run() int }) interface{ Run() int } { return removing{p, m} }

type removing struct {
	*program
	m interface{ Run() int }
}

func (r removing) Run() int {
	defer func() {
		if r.path != "" {
			os.RemoveAll(filepath.Dir(r.path))
		}
	}()
	return r.m.Run()
}

// sweep asks for what takes minutes: see make sweep.
var sweep = os.Getenv("VARVE_SWEEP") != ""

// deadline is the time limit here for any input to varve, however bad it is.
const deadline = 10 * time.Second

// outcome is how a run of varve ended.
type outcome struct {
	code           int
	stdout, stderr string
	// took is the wall time of the process, cpu its processor time.
	took, cpu time.Duration
	// peak is its peak memory, in bytes.
	peak int64
}

// run runs cmd to its end.
func run(t testing.TB, cmd *exec.Cmd) outcome {
	t.Helper()
	return start(t, cmd)()
}

// start starts cmd and returns a function that waits for its end, which has to come
// eventually.
func start(t testing.TB, cmd *exec.Cmd) (wait func() outcome) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	cmd.Stderr = &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(6*deadline, func() { cmd.Process.Kill() })
	peak := watchMemory(cmd.Process.Pid)
	return func() outcome {
		t.Helper()
		defer timer.Stop()
		err := cmd.Wait()
		o := outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String(), took: time.Since(began)}
		o.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("run %q: %v", cmd.Args, err)
		}
		o.peak = peak()
		return o
	}
}

// watchMemory polls a process's peak memory (proc(5), VmHWM), and returns a
// function that stops this. wait4(2) includes the memory of the test's own process,
// which the child shares until it executes another program.
func watchMemory(pid int) (peak func() int64) {
	done, last := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // not there any more, or not Linux
			program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			for line := range strings.Lines(string(status)) {
				var kib int64
				if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 && program == shipped.path {
					most = max(most, kib<<10)
				}
			}
			select {
			case <-done:
				last <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(done); return <-last }
}

// varve returns a command that runs the shipped program, in dir, with a plain
// environment.
func varve(t testing.TB, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), shipped.get(t), args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TMPDIR=" + os.TempDir(), "XDG_CACHE_HOME=" + cacheHome(t)}
	return cmd
}

// cacheHomes holds the directories of the tests' caches.
var cacheHomes sync.Map

// cacheHome returns the directory of the cache for everything that a test runs.
func cacheHome(t testing.TB) string {
	t.Helper()
	if dir, ok := cacheHomes.Load(t.Name()); ok {
		return dir.(string)
	}
	dir := filepath.Join(t.TempDir(), "cache") // root's, if root runs the test
	cacheHomes.Store(t.Name(), dir)
	return dir
}

// mustRun runs varve, which has to succeed.
func mustRun(t testing.TB, dir string, args ...string) outcome {
	t.Helper()
	o := run(t, varve(t, dir, args...))
	if o.code != 0 {
		t.Fatalf("varve %q: exit code %d: %s", args, o.code, o.stderr)
	}
	return o
}

// openDir makes a directory that every user may look into, unlike t.TempDir.
func openDir(t testing.TB, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "varve-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// What a test made unreadable has to be removed as well.
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(path, 0o755)
			}
			return nil
		})
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// put writes a file and the directories above it, with modes that do not depend on
// the umask.
func put(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	makeDirs(t, filepath.Dir(path))
	must(t, os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, mode))
}

// makeDirs makes a directory and those above it with mode 0755.
func makeDirs(t testing.TB, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		return
	}
	makeDirs(t, filepath.Dir(dir))
	must(t, os.Mkdir(dir, 0o700), os.Chmod(dir, 0o755))
}

// fingerprint describes what is at path: names, types, modes, content; with
// identity also inodes and times.
func fingerprint(t testing.TB, path string, identity bool) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Lstat(name)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(path, name)
		line := rel + " " + st.Mode().Type().String()
		switch {
		case st.Mode().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %x", sha256.Sum256(data))
		case st.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			line += " " + target
		}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok && identity {
			line += fmt.Sprintf(" %v %d %d %d %v", st.Mode(), sys.Ino, sys.Uid, sys.Gid, st.ModTime().UnixNano())
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// mustFind fails unless every one of the words is in the text.
func mustFind(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in %q", w, text)
		}
	}
}
