package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// TestNixExamples types the commands of the READMEs of Nix's examples, in a Nix
// with a store of its own and with a stand-in for nixpkgs.
func TestNixExamples(t *testing.T) {
	expressions, err := filepath.Glob("*/default.nix")
	if err != nil || len(expressions) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	n := enginetest.Nix(t)
	for _, tool := range []string{"busybox", "hello", "patchelf"} {
		testtools.Need(t, tool)
	}
	bin := build(t)
	top := checkout(t, 0o022)
	inputs := t.TempDir()
	debian, err := exec.CommandContext(t.Context(), "sh", "../nix/tests/debian.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(inputs, "debian.json"), debian, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(bin, "varve-itself"), filepath.Join(inputs, "varve")); err != nil {
		t.Fatal(err)
	}
	script(t, filepath.Join(bin, "varve"), fmt.Sprintf(`exec %q --progress=none "$@"`, filepath.Join(inputs, "varve")))
	for _, expression := range expressions {
		name := filepath.Dir(expression)
		t.Run(name, func(t *testing.T) {
			docker := dockerSession(t, filepath.Join(top, "examples", name), bin)
			docker.command = n.Command
			docker.env = append(nixVariables(docker.env), "NIX_PATH=nixpkgs="+filepath.Join(top, "nix/tests/nixpkgs.nix"), "VARVE_TEST_INPUTS="+inputs)
			readme := filepath.Join(name, "README.md")
			docker.play(t, readme, commands(t, readme))
		})
	}
}

// nixVariables leaves out the variables that say where Nix's things are.
func nixVariables(env []string) []string {
	var kept []string
	for _, variable := range env {
		if !strings.HasPrefix(variable, "NIX_") && !strings.HasPrefix(variable, "HOME=") && !strings.HasPrefix(variable, "TMPDIR=") {
			kept = append(kept, variable)
		}
	}
	return kept
}
