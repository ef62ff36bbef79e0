package sandboxtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/tree"
)

// testProbe: a program that tries to get out does not find a way, as root or not, in either
// form of root.
func testProbe(t *testing.T, s *suite) {
	canary := fmt.Sprintf("canary%d", rand.Int64())
	secret := t.TempDir()
	writeFile(t, filepath.Join(secret, canary), canary)
	writeFile(t, filepath.Join(os.TempDir(), canary), canary)
	t.Cleanup(func() { os.Remove(filepath.Join(os.TempDir(), canary)) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	abstract, err := net.Listen("unix", "@"+canary)
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	inherited, err := os.Open(secret) // closing it on exec is not left to us alone
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	probe := Probe(t)
	for _, fakeRoot := range []bool{true, false} {
		for _, root := range []sandbox.Root{sandbox.ImageRoot, sandbox.HostTools} {
			step := &sandbox.Step{
				Name: "probe", Root: root, FakeRoot: fakeRoot, Env: []string{"PATH=/bin"},
				Binds: []sandbox.Bind{{Source: filepath.Join(secret, canary), Target: "/bound"}},
				Tree:  With(Busybox(t), probe), Argv: []string{"/bin/probe", "escape", canary, listener.Addr().String(), canary},
			}
			if root == sandbox.HostTools {
				step.Argv[0] = sandbox.TreeDir + "/bin/probe"
			}
			o := s.runAndLook(t.Context(), t, step, filepath.Join(t.TempDir(), canary), nil)
			if o.err != nil || o.stdout != "no way out\n" {
				t.Errorf("root %v, in form %d: %v\n%s%s", fakeRoot, root, o.err, o.stdout, o.stderr)
			}
		}
	}
}

// testRemembered: what a step makes the first process remember is limited.
func testRemembered(t *testing.T, s *suite) {
	script := "/bin/probe groups 600; while read -r name value unit; do test $name != VmHWM: || echo $value; done </proc/1/status"
	o := s.run(t.Context(), t, Script(With(Busybox(t), Probe(t)), script)).must(t)
	var kib int
	if _, err := fmt.Sscan(o.stdout, &kib); err != nil || kib > 100<<10 {
		t.Errorf("the first process has used %q KiB, %v", o.stdout, err)
	}
}

// testSurvivors: nothing that a step starts is left afterwards.
func testSurvivors(t *testing.T, s *suite) {
	mark := fmt.Sprintf("98765.%d", rand.Int32())
	step := Script(Busybox(t), `
		(trap '' HUP INT TERM; exec /bin/busybox setsid sleep `+mark+`) >/dev/null 2>&1 &
		(sleep `+mark+` &)
		sleep 0.1`)
	s.run(t.Context(), t, step).must(t)
	if left := running(t, mark); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	step = Script(Busybox(t), "trap '' INT TERM; (sleep "+mark+" &); echo started; sleep "+mark)
	step.Stdout = writerFunc(func([]byte) { cancel() })
	if o := s.run(ctx, t, step); o.err == nil {
		t.Error("the cancelled step ended well")
	}
	if left := running(t, mark); len(left) > 0 {
		t.Errorf("still running after the end of its context: %q", left)
	}
}

// running returns the processes that have a word in their arguments.
func running(t *testing.T, word string) []string {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && strings.Contains(string(text), word) && !strings.HasPrefix(name, fmt.Sprintf("/proc/%d/", os.Getpid())) {
			found = append(found, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return found
}

// testHostileTrees: whatever a tree has where the sandbox mounts, looks or works, the
// machine is safe and nothing hangs. Steps may fail.
func testHostileTrees(t *testing.T, s *suite) {
	canary := t.TempDir()
	writeFile(t, canary+"/kept", "kept")
	before := fingerprint(t, canary)
	probe := Probe(t)
	special := func(path string, kind tree.Type) *tree.Entry {
		return &tree.Entry{Path: path, Type: kind, Mode: 0o666, Devmajor: 1, Devminor: 3}
	}
	for _, path := range []string{"etc", "dev", "proc", "sys", "tmp", "bin/sh", "nix", "work", "dev/null", "etc/passwd", "build"} {
		for what, make := range map[string]func() *tree.Entry{
			"link to the machine": func() *tree.Entry { return Link(path, canary) },
			"link upwards":        func() *tree.Entry { return Link(path, "../../../../../../../.."+canary) },
			"link to itself":      func() *tree.Entry { return Link(path, filepath.Base(path)) },
			"link through /proc":  func() *tree.Entry { return Link(path, "/proc/1/root"+canary) },
			"FIFO":                func() *tree.Entry { return special(path, tree.FIFO) },
			"device":              func() *tree.Entry { return special(path, tree.Char) },
			"file":                func() *tree.Entry { return File(path, "x", 0o755) },
		} {
			t.Run(path+" "+what, func(t *testing.T) {
				t.Parallel()
				entries := []*tree.Entry{Dir(".", 0o755), Dir("bin", 0o755), probe, make()}
				if dir := filepath.Dir(path); dir != "." && dir != "bin" {
					entries = append(entries, Dir(dir, 0o755))
				}
				step := Script(With(entries), "echo x >/etc/x; echo x >/tmp/x; echo x >/work/x")
				step.Binds = []sandbox.Bind{{Source: canary, Target: "/nix/store"}}
				if path == "work" {
					step.Dir = "/work"
				}
				if path != "bin/sh" {
					step.Argv, step.Script = []string{"/bin/probe", "scribble", "/etc/x", "/tmp/x", "/work/x", "/dev/null/x", "/nix/store/x", "/build/x"}, ""
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if o := s.run(ctx, t, step); ctx.Err() != nil {
					t.Errorf("it hangs: %v", o.err)
				}
			})
		}
	}
	t.Cleanup(func() { // after the parallel subtests
		if after := fingerprint(t, canary); after != before {
			t.Errorf("the machine's files were %s and are %s", before, after)
		}
	})
}

// fingerprint describes everything in a directory: names, inodes, times and contents.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, e := range names {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&all, "%s %v %v %q %d %d; ", e.Name(), info.Mode(), info.ModTime(), text, st.Ino, st.Nlink)
	}
	return all.String()
}

// testHostileResults: what a step leaves can neither make its end hang nor stay on the
// disk.
func testHostileResults(t *testing.T, s *suite) {
	base := With(Busybox(t), Probe(t))
	for _, c := range []struct {
		name, script, message string
		unprivileged          bool
	}{
		{"a whiteout's name", "touch .wh.x", ".wh.", false},
		{"a whiteout's device", "mknod x c 0 0", "character device 0:0", false},
		{"a user's whiteout", "rm etc/group; mknod etc/group c 0 0", "character device 0:0", true},
		{"deep", "probe deep 3000", "", false},
		{"deeper than any path", "probe deep 12000", "path", false},
		{"closed directories", "mkdir -p a/b/c; touch a/b/c/d; chmod 0 a/b/c/d a/b/c a/b a", "", false},
		{"sockets and FIFOs", "probe socket s; mkfifo p", "", false},
		{"attributes of overlays", "mkdir d; probe setxattr d user.overlay.opaque y || true; probe setxattr d trusted.overlay.opaque y || true", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			step := Script(base, c.script)
			step.FakeRoot = !c.unprivileged
			o := s.run(t.Context(), t, step)
			switch {
			case c.message == "":
				if o.err != nil && c.name != "deep" {
					t.Errorf("%v\n%s", o.err, o.stderr)
				}
			case o.err == nil || !strings.Contains(o.err.Error(), c.message):
				t.Errorf("error %v, want one with %q", o.err, c.message)
			}
		})
	}
}
