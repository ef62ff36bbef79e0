package nixdb

import (
	"bytes"
	"fmt"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/tree"
)

// nix is Nix with a store of its own in a temporary directory.
type nix struct {
	t    *testing.T
	home string
}

func newNix(t *testing.T) *nix {
	t.Helper()
	testtools.Need(t, "nix-store")
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// Nix takes the write permission of its directories away.
	t.Cleanup(func() {
		filepath.WalkDir(home, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(p, 0o755)
			}
			return err
		})
	})
	return &nix{t, home}
}

func (n *nix) storeDir() string { return n.home + "/nix/store" }

// run runs a command of Nix and returns what it writes to both outputs, without
// Nix's messages about missing users.
func (n *nix) run(stdin string, args ...string) string {
	n.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + n.home, "TMPDIR=" + n.home, "NIX_REMOTE=local",
		"NIX_STORE_DIR=" + n.storeDir(), "NIX_STATE_DIR=" + nixstate.StateDir(n.storeDir()),
		"NIX_LOG_DIR=" + n.home + "/log", "NIX_CONF_DIR=" + n.home + "/etc",
		"NIX_CONFIG=substitute = false\nsandbox = false\nbuild-users-group =\nfsync-metadata = false\n",
	}
	var out bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = n.home, strings.NewReader(stdin), &out, &out
	if err := cmd.Run(); err != nil {
		n.t.Fatalf("%q: %v\n%s", args, err, out.String())
	}
	return out.String()
}

// database reads Nix's database as it stands.
func (n *nix) database() []Path {
	n.t.Helper()
	entries, err := tree.Collect(tree.FromDir(n.home, tree.DirOptions{}))
	if err != nil {
		n.t.Fatal(err)
	}
	if entries, err = tree.Place(entries, n.home); err != nil {
		n.t.Fatal(err)
	}
	paths, err := ReadTree(n.t.Context(), n.storeDir(), entries)
	if err != nil {
		n.t.Fatal(err)
	}
	return paths
}

// replaceState replaces Nix's state with a tree.
func (n *nix) replaceState(entries []*tree.Entry) {
	n.t.Helper()
	if err := os.RemoveAll(nixstate.StateDir(n.storeDir())); err != nil {
		n.t.Fatal(err)
	}
	for _, e := range entries {
		name := "/" + e.Path
		var err error
		switch e.Type {
		case tree.Dir:
			err = os.MkdirAll(name, 0o755)
		case tree.Symlink:
			err = os.Symlink(e.Linkname, name)
		default:
			var data []byte
			if data, err = content(n.t.Context(), e, nixstate.MaxFile); err == nil {
				err = os.WriteFile(name, data, 0o644)
			}
		}
		if err != nil {
			n.t.Fatal(err)
		}
	}
}

// dump returns the output of "nix-store --dump-db" for paths.
func dump(paths []Path) string {
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "%s\n%s\n%d\n%s\n%d\n", p.Path, p.NarHash.Encoded(), p.NarSize, p.Deriver, len(p.References))
		for _, ref := range p.References {
			b.WriteString(ref + "\n")
		}
	}
	return b.String()
}

const expression = `
let
  hello = builtins.toFile "hello" "hello\n";
  sh = name: script: derivation {
    inherit name; system = builtins.currentSystem; builder = "/bin/sh"; outputs = [ "out" "dev" ];
    args = [ "-c" "export PATH=/usr/bin:/bin; set -e; ${script}" ];
  };
  lib = sh "lib-1.0" "mkdir -p $out/lib; echo ${hello} $out > $out/lib/a; echo dev > $dev";
  fixed = derivation {
    name = "fixed"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo fixed > $out" ];
    outputHashMode = "flat"; outputHashAlgo = "sha256";
    outputHash = builtins.hashString "sha256" "fixed\n";
  };
in sh "app" "mkdir -p $out/bin; echo ${lib} ${fixed} $out > $out/bin/app; ln -s ${lib.dev} $dev"
`

// TestAgainstNix: a database that Nix wrote is read as Nix reads it, and a database
// written here works for Nix like one that it loads itself.
func TestAgainstNix(t *testing.T) {
	n := newNix(t)
	app := strings.TrimSpace(n.run(expression, "nix-build", "--no-out-link", "-", "-A", "out", "--quiet", "--no-build-output"))
	app = app[strings.LastIndex(app, "\n")+1:]
	drv := strings.TrimSpace(n.run("", "nix-store", "--query", "--deriver", app))
	all := n.run("", "nix-store", "--dump-db")
	if got := dump(n.database()); got != all {
		t.Fatalf("the database is read as\n%s\nand Nix says\n%s", got, all)
	}
	database := n.database()
	closures := map[string][]Path{}
	for _, root := range []string{app, drv} {
		closure := strings.Fields(n.run("", "nix-store", "--query", "--requisites", root))
		for _, p := range database {
			if slices.Contains(closure, p.Path) {
				p.RegistrationTime, p.Ultimate = 1, false
				closures[root] = append(closures[root], p)
			}
		}
	}
	for root, paths := range closures {
		n.checkServes(paths, root)
		n.checkSameAsLoaded(paths)
	}
}

// checkServes replaces Nix's database with one of paths and makes Nix use it.
func (n *nix) checkServes(paths []Path, root string) {
	n.t.Helper()
	db, err := Create(n.t.Context(), n.t.TempDir(), paths)
	if err != nil {
		n.t.Fatal(err)
	}
	defer db.Close()
	state, err := State{StoreDir: n.storeDir(), Database: db, Roots: []string{root}}.Tree("test")
	if err != nil {
		n.t.Fatal(err)
	}
	n.replaceState(state)
	if got, want := n.run("", "nix-store", "--dump-db"), dump(paths); got != want {
		n.t.Errorf("Nix says\n%s\nwant\n%s", got, want)
	}
	if got := n.run("", "nix-store", "--verify", "--check-contents"); strings.Contains(got, "error") || strings.Contains(got, "warning") {
		n.t.Errorf("verifying the store says\n%s", got)
	}
	for _, p := range paths {
		want := map[string]bool{}
		for _, q := range paths {
			if slices.Contains(q.References, p.Path) {
				want[q.Path] = true
			}
		}
		got := map[string]bool{}
		for _, q := range strings.Fields(n.run("", "nix-store", "--query", "--referrers", p.Path)) {
			got[q] = true
		}
		if !reflect.DeepEqual(got, want) {
			n.t.Errorf("referrers of %s are %v, want %v", p.Path, got, want)
		}
	}
	if got := n.run("", "nix-store", "--query", "--roots", root); !strings.Contains(got, "/nix/var/nix/gcroots/docker/"+filepath.Base(root)+" -> "+root) {
		n.t.Errorf("the roots of %s are %q", root, got)
	}
	dead := n.run("", "nix-store", "--gc", "--print-dead")
	for _, p := range paths {
		if strings.Contains(dead, p.Path) {
			n.t.Errorf("the garbage collector would delete %s", p.Path)
		}
	}
}

// checkSameAsLoaded compares with the result of Nix's own --load-db for the text
// that --dump-db writes, which leaves signatures out.
func (n *nix) checkSameAsLoaded(paths []Path) {
	n.t.Helper()
	n.replaceState(nil)
	n.run(dump(paths), "nix-store", "--load-db")
	loaded := n.database()
	for i := range loaded {
		loaded[i].RegistrationTime, paths[i].Sigs, paths[i].CA = 1, nil, ""
	}
	if !reflect.DeepEqual(loaded, paths) {
		n.t.Errorf("Nix loads\n%+v\nand this is written\n%+v", loaded, paths)
	}
}
