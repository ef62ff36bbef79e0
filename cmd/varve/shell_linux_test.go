package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// shellExpression is a derivation with an input that is built, a setup that
// runs hooks, and an attribute that is passed as a file.
const shellExpression = `
let
  bash = builtins.path { path = ./bash; name = "bash"; };
  stdenv = builtins.path { path = ./stdenv; name = "stdenv"; };
  lib = derivation {
    name = "lib"; system = builtins.currentSystem; builder = "${bash}/bin/bash";
    args = [ "-c" "echo from lib > $out" ];
  };
in derivation {
  name = "greeting-1.0"; system = builtins.currentSystem; builder = "${bash}/bin/bash"; inherit lib stdenv;
  args = [ "-c" "{ echo 'it''s' \"$greeting\"; echo \"$(< $lib) $(< $textPath)\"; } > $out" ];
  greeting = "hello  there"; shellHook = "echo hook";
  passAsFile = [ "text" ]; text = "a text";
}
`

const shellSetup = "runHook() { eval \"${!1}\"; }\nexport PATH=/set/up\n"

// TestShellInDocker: a shell of a derivation that Nix made: its build in the container
// makes the output at its store path, and its shells are those of nix-shell.
func TestShellInDocker(t *testing.T) {
	testtools.NeedRoot(t)
	bash, err := os.ReadFile(testtools.Need(t, "bash-static"))
	must(t, err)
	n := enginetest.Nix(t)
	put(t, filepath.Join(n.Home(), "bash/bin/bash"), string(bash), 0o755)
	put(t, filepath.Join(n.Home(), "stdenv/setup"), shellSetup, 0o644)
	put(t, filepath.Join(n.Home(), "default.nix"), shellExpression, 0o644)
	drv := strings.TrimSpace(n.Run("nix-instantiate", "--quiet", "--quiet", "default.nix"))
	drv = drv[strings.LastIndex(drv, "\n")+1:]
	dir := openDir(t, "")
	failed := run(t, varve(t, dir, "shell", drv, "--root", n.Root(), "-q", "-o", "x.tar"))
	mustFind(t, failed.stderr, "-lib\" is not in the store: build it first")
	inputs := strings.Fields(n.Run("nix-store", "--query", "--references", drv))
	bin := ""
	for _, p := range inputs {
		n.Run("nix-store", "--realise", p)
		if strings.HasSuffix(p, "-bash") {
			bin = p + "/bin"
		}
	}

	docker := engines.Docker(t)
	load := func(tag string, flags ...string) string {
		t.Helper()
		file := filepath.Join(dir, tag+".tar")
		mustRun(t, dir, append([]string{"shell", drv, "--root", n.Root(), "--tag", tag, "-q", "-o", file}, flags...)...)
		image, err := docker.Load(t.Context(), file)
		must(t, err)
		t.Cleanup(func() { docker.Remove(t.Context(), image) })
		return image
	}
	const built = "its hello  there\nfrom lib a text\n"
	image := load("plain")
	r, err := docker.Run(t.Context(), image, "bash", "-c", `buildDerivation && echo "$(< $out)" && echo $UID $HOME $PWD`)
	if want := built + "1000 /build /build\n"; err != nil || r.Stdout != want {
		t.Errorf("building says %q, want %q: %v, %s", r.Stdout, want, err, r.Stderr)
	}
	out := strings.TrimSpace(n.Run("nix-store", "--query", "--outputs", drv))
	image = load("run", "--uid", "5", "--gid", "6", "--home", "/homeless", "--run", `buildDerivation; echo "$(< `+out+`)" $UID $HOME $PATH; [[ $- = *i* ]] || echo not interactive`)
	r, err = docker.Run(t.Context(), image)
	if want := "hook\n" + strings.TrimSuffix(built, "\n") + " 5 /homeless " + bin + ":/usr/lib/nix-shell/bin:/set/up\nnot interactive\n"; err != nil || r.Stdout != want {
		t.Errorf("run says %q, want %q: %v, %s", r.Stdout, want, err, r.Stderr)
	}
	image = load("command", "--command", `[[ $- = *i* ]] && echo interactive`)
	r, err = enginetest.Output(docker.Command(t.Context(), "run", "--rm", "--network", "none", "--tty", image))
	if err != nil || !strings.Contains(r.Stdout, "hook") || !strings.Contains(r.Stdout, "interactive") {
		t.Errorf("command says %q: %v, %s", r.Stdout, err, r.Stderr)
	}
}
