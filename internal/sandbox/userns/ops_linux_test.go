//go:build amd64 || arm64

package userns_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/sandboxtest"
	"github.com/varve-image/varve/internal/sandbox/userns"
	"github.com/varve-image/varve/internal/testtools"
)

// serveVariable makes this program run steps for another one.
const serveVariable = "VARVE_TEST_SERVE"

// FuzzSteps: what random system calls do to files, and return about them, is the same as
// root in a container, in a step that root runs, and in a step of an ordinary user.
func FuzzSteps(f *testing.F) {
	ways := startWays(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		// A program that takes ten seconds counts as hanging.
		ways.compare(t, sandboxtest.RandomOps(data, 8))
	})
}

// TestRandomSteps is the short form of FuzzSteps: the same programs each time.
func TestRandomSteps(t *testing.T) {
	if os.Getenv(serveVariable) != "" {
		serveSteps(t)
		return
	}
	t.Parallel()
	ways := startWays(t)
	r := rand.NewChaCha8([32]byte{})
	for range 4 {
		seed := make([]byte, 8)
		_, _ = r.Read(seed) // it never fails
		ways.compare(t, sandboxtest.RandomOps(seed, 64))
	}
}

// serveSteps runs each list of programs from standard input as a step, and prints the
// results.
func serveSteps(t *testing.T) {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var programs []*sandboxtest.OpsProgram
		if err := in.Decode(&programs); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if err := out.Encode(runOps(t, programs)); err != nil {
			t.Fatal(err)
		}
	}
}

// served is the result of a step, or why it failed.
type served struct {
	Outcome sandboxtest.OpsOutcome
	Err     string
}

func runOps(t *testing.T, programs []*sandboxtest.OpsProgram) served {
	temp := t.TempDir()
	defer os.RemoveAll(temp)
	step := sandboxtest.OpsStep(t, programs)
	var printed strings.Builder
	step.Stdout, step.Stderr = &printed, &printed
	step.Limits.Time = 30 * time.Second // programs never wait
	result, err := userns.New(sandbox.Options{TempDir: temp}).Run(t.Context(), step)
	if err != nil {
		return served{Err: err.Error() + "\n" + printed.String()}
	}
	o := sandboxtest.NewOpsOutcome(t, programs, printed.String(), result.Changes)
	if err := result.Close(); err != nil {
		return served{Err: err.Error()}
	}
	return served{Outcome: o}
}

// way is a process that runs steps in one of the ways to compare.
type way struct {
	name string
	in   *json.Encoder
	out  *json.Decoder
}

type ways []*way

// startWays starts a process for each way.
func startWays(t testing.TB) ways {
	testtools.NeedRoot(t)
	const run = "-test.run=^TestRandomSteps$"
	root := exec.Command(self(t), run)
	root.Env = append(os.Environ(), sandboxtest.ProbeVariable+"="+sandboxtest.Probe(t).Source)
	return ways{startWay(t, "root", root), startWay(t, "one id", asUser(t, run))}
}

func startWay(t testing.TB, name string, cmd *exec.Cmd) *way {
	cmd.Env = append(cmd.Env, serveVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // errors were reported already
	})
	return &way{name, json.NewEncoder(in), json.NewDecoder(out)}
}

// run runs programs as one step, and, if that fails, each alone.
func (w *way) run(programs []*sandboxtest.OpsProgram) (map[string]served, error) {
	var s served
	err := w.in.Encode(programs)
	if err == nil {
		err = w.out.Decode(&s)
	}
	if err != nil {
		return nil, err
	}
	all := map[string]served{}
	for i, p := range programs {
		if s.Err == "" || len(programs) == 1 {
			all[p.Name] = s
			continue
		}
		alone, err := w.run(programs[i : i+1])
		if err != nil {
			return nil, err
		}
		all[p.Name] = alone[p.Name]
	}
	return all, nil
}

// compare runs programs in all ways, and as root in a container where this machine's kernel
// follows the expected rules. It shows each difference in the shortest form that it finds.
func (all ways) compare(t *testing.T, programs []*sandboxtest.OpsProgram) {
	t.Helper()
	found := all.differences(t, programs)
	for i, w := range all {
		for _, p := range programs {
			if found[i][p.Name] == "" {
				continue
			}
			difference := found[i][p.Name]
			if flag.Lookup("test.fuzzworker").Value.String() != "true" { // workers have no time for it
				p, difference = all.shorten(t, i, p, difference)
			}
			t.Errorf("%s differs:\n-- program --\n%s%s", w.name, p.Text, difference)
			break // others may have the same cause
		}
	}
}

// differences returns how the results of each way differ, by the programs' names.
func (all ways) differences(t *testing.T, programs []*sandboxtest.OpsProgram) []map[string]string {
	t.Helper()
	got := make([]map[string]served, len(all))
	errs := make(chan error)
	for i, w := range all {
		go func() {
			var err error
			got[i], err = w.run(programs)
			errs <- err
		}()
	}
	var want sandboxtest.OpsOutcome
	if old, unprotected := sandboxtest.KernelDiffers(); !old && !unprotected {
		printed, changes := sandboxtest.Oracle(t, sandboxtest.OpsStep(t, programs))
		want = sandboxtest.NewOpsOutcome(t, programs, printed, changes)
	}
	for range all {
		if err := <-errs; err != nil {
			t.Fatalf("a process that runs steps: %v", err)
		}
	}
	found := make([]map[string]string, len(all))
	for i := range all {
		found[i] = map[string]string{}
		for _, p := range programs {
			w := served{Outcome: want}
			if want == nil {
				w = got[0][p.Name]
			}
			found[i][p.Name] = difference(p.Name, w, got[i][p.Name])
		}
	}
	return found
}

// difference describes how a result differs from the expected one, or returns "".
func difference(program string, want, got served) string {
	if want.Err != got.Err {
		return fmt.Sprintf("-- error --\n%s", got.Err)
	}
	w, g := want.Outcome[program], got.Outcome[program]
	if w == g || onlyLost(w.Out, g.Out) && onlyLost(w.Layer, g.Layer) {
		return ""
	}
	return fmt.Sprintf("-- printed --\n%s-- layer --\n%s", sandboxtest.Diff(w.Out, g.Out), sandboxtest.Diff(w.Layer, g.Layer))
}

// privileges matches what a line says about a file's privileges: set-user-id, set-group-id
// and sticky bit, and capabilities.
var privileges = regexp.MustCompile(`((?:^| )[-dp] )([0-7])([0-7]{3} )|( security\.capability=[0-9a-f]+|(?:getxattr: )("\\x00\\x00\\x00.*|ENODATA)$)`)

// onlyLost reports whether texts differ only in that files have lost privileges. That
// happens where root writes to a file that another user has open for writing: the emulator
// cannot find out who wrote, and assumes the other user. A file of the base that has
// privileges may be in the layer for that alone.
func onlyLost(want, got string) bool {
	a := strings.Split(want, "\n")
	for _, line := range strings.Split(got, "\n") {
		switch {
		case len(a) > 0 && lostIn(a[0], line):
			a = a[1:]
		case !ofPrivileged.MatchString(line):
			return false
		}
	}
	return len(a) == 0
}

// ofPrivileged matches a layer's lines for files that had privileges in the base, and have
// none now.
var ofPrivileged = regexp.MustCompile(`^- 0[0-7]{3} \d+:\d+ (su|sg|cap) "[^"]*"$`)

// lostIn reports whether two lines are the same except for lost privileges.
func lostIn(want, got string) bool {
	special := func(line string) byte {
		if m := privileges.FindStringSubmatch(line); m != nil && m[2] != "" {
			return m[2][0] - '0'
		}
		return 0
	}
	more := special(got)&^special(want) != 0 || len(got) > len(want)
	return want == got || !more && privileges.ReplaceAllString(want, "$1$3") == privileges.ReplaceAllString(got, "$1$3")
}

// TestOnlyLost: no other difference is overlooked.
func TestOnlyLost(t *testing.T) {
	for _, c := range []struct {
		want, got string
		lost      bool
	}{
		{"- 4755 0:0 f \"x\"\n", "- 0755 0:0 f \"x\"\n", true},
		{"- 0755 0:0 f \"x\"\n", "- 4755 0:0 f \"x\"\n", false},
		{"- 4755 0:0 f \"x\"\n", "- 0754 0:0 f \"x\"\n", false},
		{"- 4755 0:0 f \"x\"\n", "- 0755 0:7 f \"x\"\n", false},
		{"- 4755 0:0 f \"x\"\n", "- 2755 0:0 f \"x\"\n", false},
		{"- 0755 0:0 f \"x\" security.capability=01\n", "- 0755 0:0 f \"x\"\n", true},
		{"- 0755 0:0 f \"x\"\n", "- 0755 0:0 f \"x\" security.capability=01\n", false},
		{"3 stat: - 6755 7:7 size 3 links 1\n", "3 stat: - 0755 7:7 size 3 links 1\n", true},
		{"3 stat: - 6755 7:7 size 3 links 1\n", "3 stat: - 0755 7:7 size 3 links 2\n", false},
		{"3 getxattr: \"\\x00\\x00\\x00\\x02\"\n", "3 getxattr: ENODATA\n", true},
		{"3 getxattr: ENODATA\n", "3 getxattr: \"\\x00\\x00\\x00\\x02\"\n", false},
		{"3 open: OK\n", "3 open: EACCES\n", false},
		{"a\n", "a\nb\n", false},
		{"a\nb\n", "a\n", false},
		{"d 0755 0:0 .\n", "d 0755 0:0 .\n- 0755 5:6 sg \"sg\\n\"\n", true},
		{"d 0755 0:0 .\n- 0644 0:0 z \"\"\n", "d 0755 0:0 .\n- 0755 5:6 sg \"sg\\n\"\n- 0644 0:0 z \"\"\n", true},
		{"d 0755 0:0 .\n", "d 0755 0:0 .\n- 2755 5:6 sg \"sg\\n\"\n", false},
		{"d 0755 0:0 .\n", "d 0755 0:0 .\n- 0644 0:0 low \"\"\n", false},
	} {
		if got := onlyLost(c.want, c.got); got != c.lost {
			t.Errorf("%q, %q: %v", c.want, c.got, got)
		}
	}
}

// shorten removes whatever a program does not need to differ, within the number of tries.
func (all ways) shorten(t *testing.T, way int, p *sandboxtest.OpsProgram, difference string) (*sandboxtest.OpsProgram, string) {
	t.Helper()
	for size, tries := 8, 40; size > 0 && tries > 0; tries-- {
		shorter := shorterOps(p, size)
		found := all.differences(t, shorter)[way]
		at := slices.IndexFunc(shorter, func(s *sandboxtest.OpsProgram) bool {
			return found[s.Name] != "" && firstOf(found[s.Name]) == firstOf(difference)
		})
		if at < 0 {
			size /= 2
			continue
		}
		p, difference = shorter[at], found[shorter[at].Name]
	}
	return p, difference
}

// firstOf returns the first difference, without its line number: otherwise a program would
// become one that differs in another way.
func firstOf(difference string) (first [2]string) {
	for line := range strings.Lines(difference) {
		_, said, _ := strings.Cut(line, " ")
		for i, sign := range []string{"-", "+"} {
			if first[i] == "" && strings.HasPrefix(line, sign) && !strings.HasPrefix(line, sign+sign) {
				first[i] = said
			}
		}
	}
	return first
}

// shorterOps returns versions of a program without some of its lines, and without the ends
// of a block.
func shorterOps(p *sandboxtest.OpsProgram, size int) (all []*sandboxtest.OpsProgram) {
	lines := strings.Split(strings.TrimSuffix(p.Text, "\n"), "\n")
	add := func(drop func(i int) bool) {
		var kept strings.Builder
		for i, line := range lines {
			if !drop(i) {
				kept.WriteString(line + "\n")
			}
		}
		all = append(all, &sandboxtest.OpsProgram{Name: fmt.Sprintf("shorter%d", len(all)), Text: kept.String()})
	}
	for from := 0; from+size <= len(lines); from++ {
		if balanced(lines[from : from+size]) {
			add(func(i int) bool { return i >= from && i < from+size })
		}
		for to := from + 1; size == 1 && strings.HasSuffix(lines[from], "{") && to < len(lines); to++ {
			if balanced(lines[from : to+1]) {
				add(func(i int) bool { return i == from || i == to })
				break
			}
		}
	}
	return all
}

func balanced(lines []string) bool {
	depth := 0
	for _, line := range lines {
		switch {
		case line == "}":
			depth--
		case strings.HasSuffix(line, "{"):
			depth++
		}
		if depth < 0 {
			return false
		}
	}
	return depth == 0
}
