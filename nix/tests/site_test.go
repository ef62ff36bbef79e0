package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

var engines enginetest.Set

func TestMain(m *testing.M) { os.Exit(engines.Around(m).Run()) }

// TestNix is a single test because most of its time goes into packages that all
// parts share.
func TestNix(t *testing.T) {
	s := single(t)
	m := multi(t, s)
	t.Run("functions", func(t *testing.T) { testFunctions(t, s) })
	t.Run("expressions", func(t *testing.T) { testExpressions(t, s) })
	t.Run("expressions by a daemon", func(t *testing.T) { testExpressions(t, m) })
	t.Run("examples", func(t *testing.T) { testExamples(t, s, m) })
}

// buildTimeout bounds a call of nix-build, which may build everything.
const buildTimeout = 10 * time.Minute

// site is a Nix with, in its home, these expressions, varve, and what they need to
// know about this machine.
type site struct {
	*enginetest.NixStore
	// extra holds further arguments of the examples, as Nix code.
	extra string
}

// multi returns a site like another one, with a daemon, users that build, and the
// sandbox.
func multi(t *testing.T, like *site) *site {
	t.Helper()
	n := enginetest.NixDaemon(t)
	for _, name := range []string{"nix", "varve", "debian.json", "tools.nix"} {
		command(t, exec.CommandContext(t.Context(), "cp", "-r", filepath.Join(like.Home(), name), n.Home()))
	}
	return &site{NixStore: n}
}

// single returns a site whose commands run as root.
func single(t *testing.T) *site {
	t.Helper()
	n := enginetest.Nix(t)
	for _, tool := range []string{"bash", "busybox", "hello", "mg", "nano", "nginx", "patchelf", "redis-server", "vim.tiny"} {
		testtools.Need(t, tool)
	}
	home := n.Home()
	command(t, exec.CommandContext(t.Context(), "cp", "-r", "..", filepath.Join(home, "nix")))
	command(t, exec.CommandContext(t.Context(), "chmod", "-R", "a+rX", filepath.Join(home, "nix")))
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(home, "varve"), "./cmd/varve")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	command(t, build)
	debian := command(t, exec.CommandContext(t.Context(), "sh", "debian.sh"))
	write(t, filepath.Join(home, "debian.json"), debian)
	write(t, filepath.Join(home, "tools.nix"), `
let
  args = {
    pkgs = import ./nix/tests/pkgs.nix { debian = builtins.fromJSON (builtins.readFile ./debian.json); };
    varve = builtins.path { name = "varve"; path = ./varve; };
  };
  tools = import ./nix args;
in
tools // args // {
  examplesWith = extra: import ./nix/tests/examples.nix ({
    inherit tools;
    inherit (args) pkgs;
    toolsFor = pkgs: import ./nix (args // { inherit pkgs; });
  } // extra);
}
`)
	return &site{NixStore: n}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// command runs a command that must not fail, and returns what it wrote.
func command(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	result, err := enginetest.Output(cmd)
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("… %s: exit code %d: %s", tail(strings.Join(cmd.Args, " "), 300), result.ExitCode, troubles(result.Stderr))
	}
	if err != nil {
		t.Fatal(err)
	}
	return result.Stdout
}

// troubles returns the lines of Nix's and other output that report an error.
func troubles(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "rror: ") || strings.Contains(line, "varve: ") {
			kept = append(kept, line[:min(len(line), 500)])
		}
	}
	if len(kept) == 0 {
		return tail(text, 3000)
	}
	return strings.Join(kept, "\n")
}

// tail returns the end of a text, of at most n bytes.
func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// expression returns Nix code in which the functions and the packages can be named.
func (s *site) expression(code string) string {
	return fmt.Sprintf("with import ./tools.nix; let examples = examplesWith { %s }; in %s", s.extra, code)
}

// build builds what code stands for, and returns the paths of the outputs.
func (s *site) build(t *testing.T, code string, options ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	args := append([]string{"nix-build", "--no-out-link", "--max-jobs", "2", "-E", s.expression(code)}, options...)
	return strings.Fields(command(t, s.Command(ctx, args...)))
}

// fails builds what code stands for, which has to fail, and returns Nix's messages.
func (s *site) fails(t *testing.T, code string) string {
	t.Helper()
	result, err := enginetest.Output(s.Command(t.Context(), "nix-build", "--no-out-link", "-E", s.expression(code)))
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode == 0 {
		t.Fatalf("%s: it was built: %s", code, result.Stdout)
	}
	return result.Stderr
}

// eval evaluates code to a value.
func eval[T any](t *testing.T, s *site, code string) (value T) {
	t.Helper()
	text := command(t, s.Command(t.Context(), "nix-instantiate", "--eval", "--strict", "--json", "-E", s.expression(code)))
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", code, err)
	}
	return value
}

// example is Nix's description of an example.
type example struct {
	Path, ImageName, ImageTag string
	// IsExe distinguishes a program that writes the image from an archive.
	IsExe bool
}

// ref returns the image's full name.
func (e example) ref() string { return e.ImageName + ":" + e.ImageTag }

// list returns Nix's description of all examples, without building them.
func (s *site) list(t *testing.T) map[string]example {
	t.Helper()
	return eval[map[string]example](t, s, `builtins.mapAttrs (name: image: {
    Path = builtins.unsafeDiscardStringContext image.outPath;
    ImageName = image.imageName or "";
    ImageTag = image.imageTag or "";
    IsExe = image.isExe or false;
  }) examples`)
}
