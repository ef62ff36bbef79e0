//go:build amd64 || arm64

package userns_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/sandbox/sandboxtest"
	"github.com/varve-image/varve/internal/testtools"
)

// inDerivation is a derivation that runs this test program where only the store is visible.
const inDerivation = `
let files = builtins.path { path = ./files; name = "files"; };
in flag: derivation {
  name = "tested"; system = builtins.currentSystem; builder = files + "/busybox";
  args = [ "sh" "-c" "${files}/test '${flag}' >$out 2>&1 || { cat $out; exit 1; }" ];
  PATH = files; VARVE_TEST_PROBE = files + "/probe";
}`

// inNix runs this test program as a build of Nix and returns its output.
func inNix(t *testing.T, n *enginetest.NixStore, flag string) string {
	t.Helper()
	files := filepath.Join(n.Home(), "files")
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{"test": self(t), "probe": sandboxtest.Probe(t).Source, "busybox": testtools.Need(t, "busybox")} {
		program, err := os.ReadFile(source)
		if err == nil {
			err = os.WriteFile(filepath.Join(files, name), program, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(n.Home(), "tested.nix"), []byte(inDerivation), 0o644); err != nil {
		t.Fatal(err)
	}
	path := strings.TrimSpace(n.Run("nix-build", "--no-out-link", "-E", fmt.Sprintf("import ./tested.nix %q", flag)))
	out, err := os.ReadFile(n.Root() + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestNix runs the suite in builds of Nix, whose filter refuses some of what steps do: with
// a daemon, other users and a sandbox; and as root, where there are no build users. Layers
// are the same there.
func TestNix(t *testing.T) {
	testtools.NeedRoot(t)
	for name, run := range map[string]struct {
		nix  func(testing.TB) *enginetest.NixStore
		flag string
	}{
		"users": {enginetest.NixDaemon, "-test.run=^(TestSuite|TestSameBytes)$"},
		"root":  {enginetest.Nix, "-test.run=^(TestSuite|TestSameBytes)$/^(changes|ops|owners|probe)$"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := digestIn(inNix(t, run.nix(t), run.flag))
			if want := digest(t); got != want {
				t.Errorf("digest %q, outside %q", got, want)
			}
		})
	}
}
