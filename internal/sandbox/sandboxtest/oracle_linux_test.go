package sandboxtest_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/varve-image/varve/internal/sandbox/sandboxtest"
)

var update = flag.Bool("update", false, "write what the kernel does into testdata/ops")

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// TestOracle: the expected results of programs are what this machine's kernel does.
func TestOracle(t *testing.T) {
	for _, file := range sandboxtest.OpsFiles(t) {
		t.Run(strings.TrimSuffix(file, ".txtar"), func(t *testing.T) {
			t.Parallel()
			if old, unprotected := sandboxtest.KernelDiffers(); old || unprotected && sandboxtest.OpsNeedsProtection(t, file) {
				t.Log("this machine's kernel has other rules: nothing to compare")
				return
			}
			programs := sandboxtest.ReadOps(t, file)
			printed, changes := sandboxtest.Oracle(t, sandboxtest.OpsStep(t, programs))
			got := sandboxtest.NewOpsOutcome(t, programs, printed, changes)
			for _, p := range programs {
				switch {
				case p.Why != "":
					if g := got[p.Name]; g.Out == p.Out && g.Layer == p.Layer {
						t.Errorf("%s: the kernel does what is wanted: it needs no reason to differ", p.Name)
					}
				case *update:
					p.Out, p.Layer = got[p.Name].Out, got[p.Name].Layer
				default:
					p.Check(t, got)
				}
			}
			if *update {
				write(t, filepath.Join("testdata", "ops", file), programs)
			}
		})
	}
}

// write writes programs in the form that ReadOps reads, and the comment above them.
func write(t *testing.T, name string, programs []*sandboxtest.OpsProgram) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a := &txtar.Archive{Comment: txtar.Parse(data).Comment}
	for _, p := range programs {
		for _, f := range []struct{ kind, text string }{{"", p.Text}, {".why", p.Why}, {".out", p.Out}, {".layer", p.Layer}, {".older", p.Older}, {".olderwhy", p.OlderWhy}} {
			if optional := f.kind == ".why" || strings.HasPrefix(f.kind, ".older"); !optional || f.text != "" {
				a.Files = append(a.Files, txtar.File{Name: p.Name + f.kind, Data: []byte(f.text)})
			}
		}
	}
	if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}
