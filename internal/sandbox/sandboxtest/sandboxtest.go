// Package sandboxtest is the test suite that every sandbox.Runner passes.
//
// Only tests import it. It needs a static busybox, from which it makes the
// trees that steps run in.
package sandboxtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/tree"
)

// NewRunner makes a runner that keeps its files in a directory.
type NewRunner func(t testing.TB, temp string) sandbox.Runner

// Run runs the suite. Each test has a runner of its own, and a directory for
// its files that has to be empty afterwards.
func Run(t *testing.T, newRunner NewRunner) {
	for name, test := range map[string]func(*testing.T, *suite){
		"changes":     testChanges,
		"errors":      testErrors,
		"limits":      testLimits,
		"blinding":    testBlinding,
		"entries":     testEntries,
		"surrounding": testSurrounding,
		"terminal":    testTerminal,
		"tools":       testTools,
		"owners":      testOwners,
		"ops":         testOps,
		"foreign":     testForeignOwners,
		"probe":       testProbe,
		"remembered":  testRemembered,
		"memory":      testMemory,
		"survivors":   testSurvivors,
		"trees":       testHostileTrees,
		"results":     testHostileResults,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &suite{newRunner})
		})
	}
}

type suite struct{ newRunner NewRunner }

// outcome is the result of a step.
type outcome struct {
	stdout, stderr string
	changes        string // see dump
	err            error
}

// run runs a step and closes its result, which must leave nothing on disk.
func (s *suite) run(ctx context.Context, t *testing.T, step *sandbox.Step) outcome {
	t.Helper()
	return s.runAndLook(ctx, t, step, t.TempDir(), nil)
}

// runAndLook runs a step as run does, in a directory for temporary files that it makes.
// Before the result is closed, look sees what the step changed.
func (s *suite) runAndLook(ctx context.Context, t *testing.T, step *sandbox.Step, temp string, look func(outcome, []*tree.Entry)) outcome {
	t.Helper()
	if err := os.MkdirAll(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if step.Stdout == nil {
		step.Stdout = &stdout
	}
	if step.Stderr == nil {
		step.Stderr = &stderr
	}
	var o outcome
	result, err := s.newRunner(t, temp).Run(ctx, step)
	o.stdout, o.stderr, o.err = stdout.String(), stderr.String(), err
	if err == nil {
		o.changes = dump(t, result.Changes)
		checkTree(t, step.Tree, result)
		if look != nil {
			look(o, result.Changes)
		}
		if err := result.Close(); err != nil {
			t.Errorf("close the result: %v", err)
		}
	}
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("left behind: %s", e.Name())
	}
	return o
}

// must fails the test unless the step ended well.
func (o outcome) must(t *testing.T) outcome {
	t.Helper()
	if o.err != nil {
		t.Fatalf("the step failed: %v\nstdout: %s\nstderr: %s", o.err, o.stdout, o.stderr)
	}
	return o
}

// checkTree checks that the changes laid over the tree are the result's tree.
func checkTree(t *testing.T, before []*tree.Entry, r *sandbox.Result) {
	t.Helper()
	again, err := tree.Diff(t.Context(), before, r.Tree)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := dump(t, again), dump(t, r.Changes); got != want {
		t.Errorf("the tree after the step differs by\n%sthe changes are\n%s", got, want)
	}
}

// dump lists entries, one per line: type, mode, owner, path and content.
func dump(t testing.TB, entries []*tree.Entry) string {
	t.Helper()
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %04o %d:%d %s", map[tree.Type]string{
			tree.Dir: "d", tree.Regular: "-", tree.Symlink: "l", tree.FIFO: "p", tree.Char: "c", tree.Block: "b"}[e.Type],
			e.Mode, e.UID, e.GID, e.Path)
		switch e.Type {
		case tree.Symlink:
			b.WriteString(" -> " + e.Linkname)
		case tree.Char, tree.Block:
			fmt.Fprintf(&b, " %d,%d", e.Devmajor, e.Devminor)
		case tree.Regular:
			fmt.Fprintf(&b, " %q", content(t, e))
		}
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			if value := e.Xattrs[name]; len(value) > 200 {
				fmt.Fprintf(&b, " %s of %d bytes", name, len(value))
			} else {
				fmt.Fprintf(&b, " %s=%x", name, value)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// content returns the file's content, or its size.
func content(t testing.TB, e *tree.Entry) string {
	t.Helper()
	if e.Size == 0 {
		return ""
	}
	r, err := e.Open()
	if err != nil {
		t.Fatalf("open %q: %v", e.Path, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %q: %v", e.Path, err)
	}
	if len(data) > 200 {
		return fmt.Sprintf("%d bytes", len(data))
	}
	return string(data)
}

// WantChanges compares the entries of a layer with the wanted dump.
func WantChanges(t *testing.T, changes []*tree.Entry, want string) {
	t.Helper()
	wantChanges(t, dump(t, changes), want)
}

// wantChanges compares a dump with the wanted one, which may be indented.
func wantChanges(t *testing.T, got, want string) {
	t.Helper()
	var lines strings.Builder
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" {
			lines.WriteString(line + "\n")
		}
	}
	if got != lines.String() {
		t.Errorf("changes:\n%swant:\n%s", got, lines.String())
	}
}

// Busybox returns the tree of a small system: busybox as /bin/busybox, with links for its
// commands.
func Busybox(t testing.TB) []*tree.Entry {
	t.Helper()
	program := testtools.Need(t, "busybox")
	st, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	entries := []*tree.Entry{
		Dir(".", 0o755), Dir("bin", 0o755), Dir("etc", 0o755), Dir("tmp", 0o1777),
		{Path: "bin/busybox", Type: tree.Regular, Mode: 0o755, Size: st.Size(),
			Content: tree.OpenFunc(func() (io.ReadCloser, error) { return os.Open(program) })},
		File("etc/passwd", "root:x:0:0:root:/:/bin/sh\napp:x:1001:1002:app:/:/bin/sh\n", 0o644),
		File("etc/group", "root:x:0:\napp:x:1002:\n", 0o644),
	}
	for name := range strings.FieldsSeq(applets) {
		entries = append(entries, Link("bin/"+name, "busybox"))
	}
	tree.Sort(entries)
	return entries
}

const applets = `[ ash cat chgrp chmod chown cp cut dd echo env false find grep head hostname id ip kill ln ls mkdir
	mkfifo mknod mv nc od ping printf ps pwd readlink rm rmdir sed seq sh sleep sort stat su tail test timeout touch tr true
	umount mount unshare wc yes`

// With returns the tree with more entries, in its order.
func With(entries []*tree.Entry, more ...*tree.Entry) []*tree.Entry {
	all := append(append([]*tree.Entry(nil), entries...), more...)
	tree.Sort(all)
	return all
}

// Dir returns a directory of root's.
func Dir(path string, mode uint32) *tree.Entry {
	return tree.NewDir(path, mode)
}

// File returns a file of root's.
func File(path, text string, mode uint32) *tree.Entry {
	e := tree.NewFile(path, mode, text)
	e.ModTime = 1000
	return e
}

// Link returns a symlink of root's.
func Link(path, target string) *tree.Entry {
	return tree.NewSymlink(path, target)
}

// Owned gives an entry another owner.
func Owned(e *tree.Entry, uid, gid uint32) *tree.Entry {
	e.UID, e.GID = uid, gid
	return e
}

// Script returns a step that runs a script as root in a tree.
func Script(entries []*tree.Entry, script string) *sandbox.Step {
	return &sandbox.Step{
		Name: "test", Tree: entries, Argv: []string{"/bin/sh", "-e"}, Script: script,
		Env: []string{"PATH=/bin"}, FakeRoot: true,
	}
}
