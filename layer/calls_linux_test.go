package layer_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// counted tells this program, run by TestSystemCalls, what to do: a kind of layer and a directory.
const counted = "VARVE_TEST_COUNTED"

// memory is a Memo in memory.
type memory map[digest.Digest]layer.Info

func (m memory) Layer(key digest.Digest) (layer.Info, digest.Digest, bool) {
	info, ok := m[key]
	if !ok {
		info, ok = m["any"]
	}
	return info, "", ok
}

func (m memory) KeepLayer(key digest.Digest, info layer.Info, _ digest.Digest, _ int64) {
	m[key] = info
}

func (m memory) Portable(digest.Digest) (digest.Digest, bool) { return "", false }

func (m memory) KeepPortable(_, _ digest.Digest, _ int64) {}

func (m memory) Known(digest.Digest) bool { return len(m) > 0 }

func (m memory) KeepName(digest.Digest) {}

// countedLayer returns the layer of a kind that TestSystemCalls has looked at.
func countedLayer(kind, root string, memo layer.Memo) (*layer.Layer, error) {
	opts := kinds[kind]
	opts.Memo = memo
	if kind == "store" {
		return layer.New(func() tree.Seq { return tree.FromDir(root, tree.DirOptions{Store: true}) }, opts), nil
	}
	list, err := tree.Collect(tree.FromDir(root, tree.DirOptions{Xattrs: true}))
	return layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
		}
	}, opts), err
}

// TestCounted is not a test but what TestSystemCalls counts the calls of.
func TestCounted(t *testing.T) {
	task, root, _ := strings.Cut(os.Getenv(counted), " ")
	kind, size, warm := strings.Cut(task, "=")
	kind, keep := strings.CutSuffix(kind, "+keep")
	if kind == "" {
		t.Skip("only for TestSystemCalls")
	}
	memo := memory{}
	if warm {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		memo["any"] = layer.Info{DiffID: digest.FromString("any"), Size: n}
	}
	l, err := countedLayer(kind, root, memo)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case warm:
		_, err = l.Info(context.Background())
	case keep:
		_, _, err = l.Keep(context.Background(), io.Discard)
	default:
		err = l.Write(context.Background(), io.Discard)
	}
	if err != nil || l.Reused() != warm {
		t.Fatalf("%v; reused: %v", err, l.Reused())
	}
}

// unrelated are the calls by which the runtime manages threads and memory.
var unrelated = []string{
	"futex", "nanosleep", "clock_nanosleep", "sched_yield", "epoll_pwait", "epoll_ctl", "eventfd2", "madvise", "mmap", "munmap", "mprotect",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "tgkill", "getpid", "gettid", "exit", "exit_group", "clone", "clone3", "set_robust_list", "rseq", "timer_settime",
	"timer_create", "timer_delete", "restart_syscall", "sched_getaffinity", "arch_prctl", "brk", "write",
}

// countCalls returns how many system calls a task makes, besides unrelated ones.
func countCalls(t *testing.T, strace, task string) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	// The kernel does not stop for the unrelated ones; strace need not know all of them.
	cmd := exec.Command(strace, "-f", "-qq", "--seccomp-bpf", "-e", "raw=all", "-e", "trace=!?"+strings.Join(unrelated, ",?"),
		"-o", "/dev/fd/3", os.Args[0], "-test.run=^TestCounted$")
	cmd.Env = append(os.Environ(), counted+"="+task)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &out, []*os.File{w}
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	n := 0
	// "PID call(arguments...", and "PID <... call resumed>" where another thread came between. A
	// call that strace does not know yet is called syscall_0xNUMBER.
	for lines := bufio.NewScanner(r); lines.Scan(); {
		_, line, _ := strings.Cut(lines.Text(), " ")
		call, _, isCall := strings.Cut(strings.TrimLeft(line, " "), "(")
		if isCall && !strings.HasPrefix(call, "<") && !slices.Contains(unrelated, call) {
			n++
		}
	}
	if err := cmd.Wait(); err != nil {
		if strings.Contains(out.String(), "ptrace") {
			testtools.Lack(t, "strace cannot trace here: %s", &out)
		}
		t.Fatalf("%v: %s", err, &out)
	}
	return n
}

// TestSystemCalls: what a small file costs, in a layer that is hashed and written, in one that is
// kept while it is hashed, and in one whose digest is remembered. Under strace each call takes
// longer than a file takes otherwise, so that only VARVE_SWEEP counts those of 100,000 files.
func TestSystemCalls(t *testing.T) {
	strace := testtools.Need(t, "strace")
	files := 10_000
	if os.Getenv("VARVE_SWEEP") != "" {
		files = 100_000
	}
	none, many := t.TempDir(), t.TempDir()
	for i := range files {
		dir := filepath.Join(many, fmt.Sprintf("dir-%04d", i/1000))
		if i%1000 == 0 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%06d", i)), noise(1000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		kind string
		warm bool
		most float64
	}{{"tree", false, 8}, {"store", false, 8}, {"tree+keep", false, 6}, {"store+keep", false, 5}, {"tree", true, 3}, {"store", true, 3}} {
		t.Run(fmt.Sprintf("%s/warm=%v", c.kind, c.warm), func(t *testing.T) {
			task := func(root string) string {
				if !c.warm {
					return c.kind + " " + root
				}
				l, err := countedLayer(c.kind, root, nil)
				if err != nil {
					t.Fatal(err)
				}
				size, err := l.Size(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				return fmt.Sprintf("%s=%d %s", c.kind, size, root)
			}
			n := countCalls(t, strace, task(many)) - countCalls(t, strace, task(none))
			each := float64(n) / float64(files)
			t.Logf("%.2f system calls for each of %d files", each, files)
			if each > c.most {
				t.Errorf("%.2f system calls for each of %d files, want at most %.0f", each, files, c.most)
			}
		})
	}
}
