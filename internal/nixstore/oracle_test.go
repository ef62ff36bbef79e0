package nixstore

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/testtools"
)

// nix is Nix with a store and a database of its own in a temporary directory.
type nix struct {
	t    *testing.T
	home string
	env  []string
}

func newNix(t *testing.T) *nix {
	t.Helper()
	testtools.Need(t, "nix-store")
	testtools.Need(t, "nix-build")
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := &nix{t: t, home: home}
	n.env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"TMPDIR=" + home,
		"NIX_REMOTE=local",
		"NIX_STORE_DIR=" + n.storeDir(),
		"NIX_STATE_DIR=" + home + "/var",
		"NIX_LOG_DIR=" + home + "/log",
		"NIX_CONF_DIR=" + home + "/etc",
		"NIX_CONFIG=substitute = false\nsandbox = false\nbuild-users-group =\n",
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
	return n
}

func (n *nix) storeDir() string { return n.home + "/store" }

// run runs a command of Nix and returns its output.
func (n *nix) run(name string, args ...string) string {
	n.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = n.env, n.home
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

// expression builds a path of each kind: a file, a directory with symlinks and
// with a name that holds a hash, a file that mentions itself.
const expression = `
let
  hello = builtins.toFile "hello" "hello\n";
  quotes = builtins.toFile "quotes" "see ${hello}, ${hello}";
  sh = name: script: derivation {
    inherit name; system = builtins.currentSystem; builder = "/bin/sh";
    args = [ "-c" "export PATH=/usr/bin:/bin; set -e; ${script}" ];
  };
  lib = sh "lib-1.0" "mkdir -p $out/lib; echo ${quotes} > $out/lib/a; printf x > $out/lib/b; chmod +x $out/lib/b; ln -s a $out/lib/c; : > $out/empty; mkdir $out/none";
  byName = sh "by-name" "mkdir $out; : > $out/$(basename ${lib})";
  link = sh "link" "ln -s ${byName} $out";
  unused = builtins.toFile "unused" "not mentioned by the output";
in sh "app" "mkdir -p $out/bin; ( head -c 2000000 /dev/zero; echo ${link} $out; echo ${unused} | head -c 20 ) > $out/bin/app"
`

// TestAgainstNix builds a small closure with Nix and compares Nix's records with
// what Scan finds.
func TestAgainstNix(t *testing.T) {
	n := newNix(t)
	file := n.home + "/expression.nix"
	if err := os.WriteFile(file, []byte(expression), 0o644); err != nil {
		t.Fatal(err)
	}
	app := strings.TrimSpace(n.run("nix-build", "--no-out-link", file))
	paths := strings.Fields(n.run("nix-store", "-qR", app))
	if len(paths) != 6 {
		t.Fatalf("Nix has the closure %q; want hello, quotes, lib, by-name, link and app", paths)
	}

	dump := n.run("nix-store", append([]string{"--dump-db"}, paths...)...)
	registered, err := ReadRegistration(n.storeDir(), strings.NewReader(dump))
	if err != nil {
		t.Fatal(err)
	}
	scanned, err := Scan(context.Background(), ScanOptions{StoreDir: n.storeDir(), Roots: []string{app}})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range registered {
		slices.Sort(node.References)
	}
	slices.SortFunc(registered, func(a, b PathInfo) int { return strings.Compare(a.Path, b.Path) })
	if a, b := Nodes(scanned), Nodes(registered); !slices.EqualFunc(a, b, func(a, b layering.Node) bool {
		return a.Path == b.Path && a.NarSize == b.NarSize && slices.Equal(a.References, b.References)
	}) {
		t.Errorf("scanned %v\nNix has %v", scanned, registered)
	}
	slices.Sort(paths)
	for i, node := range scanned {
		if i >= len(paths) || node.Path != paths[i] {
			t.Errorf("scanned %q, Nix has %q", node.Path, paths)
			break
		}
	}

	// The whole database, derivations included, is a closure too.
	all, err := ReadRegistration(n.storeDir(), strings.NewReader(n.run("nix-store", "--dump-db")))
	if err != nil || len(all) <= len(registered) {
		t.Errorf("whole database: %d paths, %v", len(all), err)
	}
}

// TestNarSizeAgainstNix compares sizes with archives that Nix makes.
func TestNarSizeAgainstNix(t *testing.T) {
	n := newNix(t)
	s := newTinyStore(t, "tree", "file", "program", "empty", "link", "none")
	for _, size := range []int{0, 1, 7, 8, 9, 512, 4096} {
		name := strings.Repeat("n", size%17+1)
		s.write("tree/"+name+"/"+name+name, strings.Repeat("x", size))
		s.link("tree/links/"+name, strings.Repeat("t", size%256+1))
	}
	s.write("tree/not-utf8-\xff", "x")
	s.write("tree/"+strings.Repeat("z", 255), "x")
	for i, mode := range []os.FileMode{0o444, 0o555, 0o700, 0o455, 0o645, 0o654} {
		name := "tree/modes/" + string(rune('a'+i))
		s.write(name, "mode")
		s.must(os.Chmod(s.file(name), mode))
	}
	s.write("file", "content")
	s.write("program", "content")
	s.must(os.Chmod(s.file("program"), 0o755))
	s.write("empty", "")
	s.link("link", "$file")
	s.must(os.Mkdir(s.file("none"), 0o755))
	for name := range s.paths {
		nodes, err := s.scan("$" + name)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(nodes, func(n PathInfo) bool { return n.Path == s.paths[name] })
		archive := n.run("nix-store", "--dump", s.file(name))
		if got, want := nodes[at].NarSize, uint64(len(archive)); got != want || nodes[at].NarHash != "" {
			t.Errorf("%s: size %d and hash %q, Nix makes %d bytes, and no hash was asked for", name, got, nodes[at].NarHash, want)
		}
		hashed, err := HashPaths(t.Context(), ScanOptions{StoreDir: DefaultStoreDir, Root: s.root, Roots: []string{s.paths[name]}})
		if err != nil {
			t.Fatal(err)
		}
		if want := (PathInfo{Path: s.paths[name], NarHash: digest.FromString(archive), NarSize: uint64(len(archive))}); !reflect.DeepEqual(hashed, []PathInfo{want}) {
			t.Errorf("%s: its archive is %+v, want %+v", name, hashed, want)
		}
	}
}
