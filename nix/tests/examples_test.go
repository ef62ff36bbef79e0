package tests

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// unstable lists the examples that differ from build to build: they contain the time.
var unstable = []string{"unstableDate", "unstableDateLayered"}

// testExamples builds all examples twice with a Nix that root uses alone, and once
// with a daemon that builds in sandboxes as other users. All three times the bytes
// are the same. They are loaded into Docker and run.
func testExamples(t *testing.T, alone, daemon *site) {
	s := &site{NixStore: alone.NixStore, extra: "pulled = " + publish(t, alone) + ";"}
	all := s.list(t)
	hashes := s.hashes(t, s.buildAll(t, all, "--check"))
	t.Run("docker", func(t *testing.T) {
		for _, sub := range subtests {
			t.Run(strings.ReplaceAll(sub.name, " ", "-"), func(t *testing.T) { sub.run(t, &loaded{s, all}) })
		}
	})
	t.Run("daemon", func(t *testing.T) {
		m := &site{NixStore: daemon.NixStore, extra: s.extra}
		for path, hash := range m.hashes(t, m.buildAll(t, m.list(t))) {
			if hashes[path] != hash {
				t.Errorf("%s has the hash %s where root builds it, and %s where the daemon does", path, hashes[path], hash)
			}
		}
		privileges(t, s, m)
		t.Run("layers", func(t *testing.T) { layers(t, m) })
	})
}

// privileges: scripts may do what Nix's sandbox refuses to builders.
func privileges(t *testing.T, s, m *site) {
	t.Helper()
	const code = `let probe = builtins.path { name = "probe"; path = ./probe; }; in (streamLayeredImage {
    name = "privileged"; tag = "latest"; extraCommands = "cp ${probe} own; chmod 4711 own";
    fakeRootCommands = ''
      cp ${probe} su; chmod 4755 su; mkdir mail; chmod 2775 mail; chown 7:8 mail
      cp ${probe} ping; ${probe} setcap ping; ${probe} setxattr ping user.a x; ${pkgs.busybox}/bin/mknod null c 1 3
    '';
  }).layer`
	var hashes []string
	for _, where := range []*site{s, m} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", where.Home()+"/probe", "../../internal/sandbox/sandboxtest/probe")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		command(t, build)
		path := where.build(t, code)[0]
		hashes = append(hashes, where.Run("nix-store", "--query", "--hash", path))
		file := where.Root() + path + "/layer.tar"
		list := command(t, exec.CommandContext(t.Context(), "tar", "--numeric-owner", "-tvf", file))
		for _, part := range []string{"-rwsr-xr-x 0/0", "-rws--x--x 0/0", "drwxrwsr-x 7/8", "crw-r--r-- 0/0"} {
			want(t, list, part)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, attribute := range []string{"SCHILY.xattr.security.capability=\x01", "SCHILY.xattr.user.a=x\n"} {
			if !strings.Contains(string(content), attribute) {
				t.Errorf("the layer has no %q", attribute)
			}
		}
	}
	if hashes[0] != hashes[1] {
		t.Errorf("layers with privileges are %q, without and with a sandbox", hashes)
	}
}

// buildAll builds all examples; again holds options for a second build of those
// that stay the same. It returns the paths of the latter.
func (s *site) buildAll(t *testing.T, all map[string]example, again ...string) []string {
	t.Helper()
	var names, steady []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		names = append(names, name)
		if !slices.Contains(unstable, name) {
			steady = append(steady, name)
		}
	}
	built := s.build(t, examplesCalled(names))
	for _, name := range names {
		if !slices.Contains(built, all[name].Path) {
			t.Errorf("example %s was not built at %s", name, all[name].Path)
		}
	}
	return s.build(t, examplesCalled(steady), again...)
}

// hashes returns Nix's hashes of paths.
func (s *site) hashes(t *testing.T, paths []string) map[string]string {
	t.Helper()
	hashes := map[string]string{}
	lines := strings.Fields(s.Run(append([]string{"nix-store", "--query", "--hash"}, paths...)...))
	for i, path := range paths {
		hashes[path] = lines[i]
	}
	return hashes
}

// examplesCalled returns Nix code for a list of examples.
func examplesCalled(names []string) string {
	return fmt.Sprintf("map (name: examples.${name}) [ %s ]", `"`+strings.Join(names, `" "`)+`"`)
}
