package sandboxtest

import (
	"embed"
	"path"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/tree"
)

// OpsProgram is a list of system calls for the probe (see its command ops), and their
// results as root in one of Docker's containers, which Oracle finds out.
type OpsProgram struct {
	Name string
	Text string
	// Out is what the probe prints, and Layer the dump of its changes.
	Out, Layer string
	// Older, unless empty, is what the probe may print with an older kernel, and OlderWhy says
	// what is different there.
	Older, OlderWhy string
	// Why, unless empty, says why a sandbox should differ from that root's kernel here: Out
	// and Layer are then what it should do.
	Why string
}

//go:embed testdata/ops
var opsFiles embed.FS

const opsDir = "testdata/ops"

// OpsFiles returns the names of the files with programs.
func OpsFiles(t testing.TB) []string {
	t.Helper()
	all, err := opsFiles.ReadDir(opsDir)
	if err != nil || len(all) == 0 {
		t.Fatalf("%d files of programs, %v", len(all), err)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// OpsNeedsProtection reports whether the programs of a file need hard links protected by
// the kernel, according to the comment above them.
func OpsNeedsProtection(t testing.TB, name string) bool {
	t.Helper()
	return strings.Contains(string(readOps(t, name).Comment), "needs: protected_hardlinks\n")
}

func readOps(t testing.TB, name string) *txtar.Archive {
	t.Helper()
	data, err := opsFiles.ReadFile(path.Join(opsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return txtar.Parse(data)
}

// ReadOps reads the programs of a file: an archive in which a program's file is followed by
// files with the same name and .why, .out, .layer, .older and .olderwhy.
func ReadOps(t testing.TB, name string) []*OpsProgram {
	t.Helper()
	var all []*OpsProgram
	for _, f := range readOps(t, name).Files {
		text := string(f.Data)
		name, kind, _ := strings.Cut(f.Name, ".")
		if kind == "" {
			all = append(all, &OpsProgram{Name: name, Text: text})
			continue
		}
		last := all[len(all)-1]
		field, ok := map[string]*string{"why": &last.Why, "out": &last.Out, "layer": &last.Layer, "older": &last.Older, "olderwhy": &last.OlderWhy}[kind]
		if !ok || last.Name != name {
			t.Fatalf("%s: %q is of no program", name, f.Name)
		}
		*field = text
	}
	return all
}

// opsRoot holds a directory for each program.
const opsRoot = "w"

// OpsTree returns the tree that programs run in.
func OpsTree(t testing.TB, programs []*OpsProgram) []*tree.Entry {
	t.Helper()
	entries := []*tree.Entry{Dir(".", 0o755), Dir("bin", 0o755), Dir(opsRoot, 0o755), Probe(t), File("bin/ops", opsText(programs), 0o644)}
	for _, p := range programs {
		for _, e := range opsLower() {
			e.Path = path.Join(opsRoot, p.Name, e.Path)
			entries = append(entries, e)
		}
	}
	return With(entries)
}

// opsLower returns what a program finds in its working directory.
func opsLower() []*tree.Entry {
	capable, attr := File("cap", "cap\n", 0o755), File("attr", "attr\n", 0o644)
	capable.Xattrs = map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	attr.Xattrs = map[string]string{"user.a": "x"}
	return []*tree.Entry{
		Dir(".", 0o755), Dir("low", 0o755), File("low/f", "low f\n", 0o644), Dir("low/sub", 0o755), File("low/sub/g", "low g\n", 0o644),
		File("lowf", "lowf\n", 0o644), Link("link", "lowf"), Link("dangling", "made"),
		Owned(File("su", "su\n", 0o4755), 5, 6), Owned(File("sg", "sg\n", 0o2755), 5, 6), Owned(File("app", "app\n", 0o640), 7, 8),
		Owned(Dir("sgd", 0o2775), 0, 9), Dir("priv", 0o700), File("priv/f", "priv\n", 0o666), capable, attr,
		{Path: "null", Type: tree.Char, Mode: 0o666, Devmajor: 1, Devminor: 3},
	}
}

func opsText(programs []*OpsProgram) string {
	var b strings.Builder
	for _, p := range programs {
		b.WriteString("in " + path.Join(opsRoot, p.Name) + " {\n" + p.Text + "\n}\n")
	}
	return b.String()
}

// opsArgv returns the command that runs the programs in a tree.
func opsArgv() []string { return []string{"/bin/probe", "ops", "/bin/ops"} }

// OpsStep returns a step that runs the programs.
func OpsStep(t testing.TB, programs []*OpsProgram) *sandbox.Step {
	t.Helper()
	return &sandbox.Step{Name: "ops", Tree: OpsTree(t, programs), Argv: opsArgv(), FakeRoot: true}
}

// OpsOutcome is the results of programs, by their names: as in OpsProgram.
type OpsOutcome map[string]struct{ Out, Layer string }

// NewOpsOutcome splits up what programs have printed, and changed.
func NewOpsOutcome(t testing.TB, programs []*OpsProgram, printed string, changes []*tree.Entry) OpsOutcome {
	t.Helper()
	o := OpsOutcome{}
	out := map[string]string{}
	for part := range strings.SplitSeq("\n"+printed, "\n== "+opsRoot+"/") {
		name, text, _ := strings.Cut(part, "\n")
		out[name] = text
	}
	for _, p := range programs {
		text, ran := out[p.Name]
		if !ran {
			t.Errorf("%s: it did not run", p.Name)
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		o[p.Name] = struct{ Out, Layer string }{text, dump(t, below(changes, path.Join(opsRoot, p.Name)))}
	}
	return o
}

// below returns what is in a directory, as a tree of its own.
func below(entries []*tree.Entry, dir string) (found []*tree.Entry) {
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Path, dir)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		moved := *e
		moved.Path = path.Join(".", rest)
		found = append(found, &moved)
	}
	return found
}

// testOps: what system calls do to files, and return about them, is the same as for root in
// a container.
func testOps(t *testing.T, s *suite) {
	for _, file := range OpsFiles(t) {
		t.Run(strings.TrimSuffix(file, ".txtar"), func(t *testing.T) {
			t.Parallel()
			programs := ReadOps(t, file)
			s.runAndLook(t.Context(), t, OpsStep(t, programs), t.TempDir(), func(o outcome, changes []*tree.Entry) {
				got := NewOpsOutcome(t, programs, o.stdout, changes)
				for _, p := range programs {
					p.Check(t, got)
				}
			}).must(t)
		})
	}
}

// Check compares the result of a program with the expected one.
func (p *OpsProgram) Check(t *testing.T, got OpsOutcome) {
	t.Helper()
	g := got[p.Name]
	if g.Out != p.Out && (p.Older == "" || g.Out != p.Older) {
		t.Errorf("%s prints\n%s", p.Name, Diff(p.Out, g.Out))
	}
	if g.Layer != p.Layer {
		t.Errorf("%s makes the layer\n%s", p.Name, Diff(p.Layer, g.Layer))
	}
}

// Diff shows which lines differ, in context.
func Diff(want, got string) string {
	return string(diff.Diff("want", []byte(want), "got", []byte(got)))
}
