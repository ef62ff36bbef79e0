package enginetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// shell builds a path with just the busybox in the store, so that it works in a sandbox.
const shell = `
let tools = builtins.path { path = ./tools; name = "tools"; };
in script: derivation {
  name = "built"; system = builtins.currentSystem; builder = tools + "/sh";
  args = [ "-c" script ]; PATH = tools;
}`

// buildNix builds with a script and returns what is at $out, read from outside.
func buildNix(t *testing.T, n *NixStore, script string) (path, content string) {
	t.Helper()
	tools := filepath.Join(n.Home(), "tools")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile(testtools.Need(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "id", "ls", "grep", "test"} {
		if err := os.WriteFile(filepath.Join(tools, name), busybox, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(n.Home(), "shell.nix"), []byte(shell), 0o644); err != nil {
		t.Fatal(err)
	}
	path = strings.TrimSpace(n.Run("nix-build", "--no-out-link", "-E", "import ./shell.nix ''"+script+"''"))
	data, err := os.ReadFile(n.Root() + path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(data)
}

func TestNix(t *testing.T) {
	n := Nix(t)
	path, content := buildNix(t, n, `id -u > $out; test -x /usr/bin && echo sees >> $out`)
	if content != "0\nsees\n" || !strings.HasPrefix(path, "/nix/store/") {
		t.Errorf("%s was built by and with %q, want root, who sees the machine", path, content)
	}
	if who := n.Run("id", "-u"); who != "0\n" {
		t.Errorf("commands run as %q", who)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s is on the machine", path)
	}
	if closure := n.Run("nix-store", "-qR", path); !strings.HasSuffix(closure, path+"\n") {
		t.Errorf("Nix says that the closure of %s is %q", path, closure)
	}
	if out := n.RunInput("text", "sh", "-c", "cat && pwd"); out != "text"+n.Home()+"\n" {
		t.Errorf("standard input and directory are %q", strings.TrimSpace(out))
	}
	if _, err := n.check("nix-build", "--no-out-link", "-E", "nonsense"); err == nil {
		t.Error("nonsense builds")
	}
	if other := Nix(t).Run("ls", "/nix"); other != "" {
		t.Errorf("a second store has %q", other)
	}
}

func TestNixDaemon(t *testing.T) {
	n := NixDaemon(t)
	_, content := buildNix(t, n, `id -un > $out; ls / >> $out; ls /nix/store | grep -c . >> $out`)
	if content != "nixbld\nbuild\ndev\netc\nnix\nproc\ntmp\n2\n" { // the tools and what is being built
		t.Errorf("the builder sees %q, want a sandbox", content)
	}
	if who := n.Run("id", "-un"); who != "tester\n" {
		t.Errorf("commands run as %q", who)
	}
	if _, err := n.check("sh", "-c", "echo x > /nix/store/x"); err == nil {
		t.Error("tester can write to the store")
	}
	n.Run("sh", "-c", "echo x > result")
}
