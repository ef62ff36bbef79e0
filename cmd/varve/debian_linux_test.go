package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/debianbase"
	"github.com/varve-image/varve/internal/enginetest"
)

// debianImage makes debian.tar in dir: an image of a Debian root file system,
// and links.tar on top of it, with symlinks of every kind.
func debianImage(t *testing.T, dir string) {
	t.Helper()
	put(t, filepath.Join(dir, "base.json"), fmt.Sprintf(`{"name": "debian", "tag": "base",
		"copyToRoot": [{"source": %q, "owner": "keep"}], "config": {"Cmd": ["/bin/sh"]}}`, debianbase.Least(t)), 0o644)
	mustRun(t, dir, "build", "base.json", "-q", "-o", "debian.tar")
	makeDirs(t, filepath.Join(dir, "links/opt"))
	for name, target := range map[string]string{
		"abs": "/usr/local", "chain": "abs/../local/lib", "deep": "../opt/chain", "missing": "/nowhere", "loop": "loop", "file": "/etc/debian_version",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, "links/opt", name)))
	}
	mustRun(t, dir, "build", "--name", "links", "--tag", "base", "--from", "debian.tar", "--copy", "links", "--keep-contents-dirlinks", "-q", "-o", "links.tar")
}

// TestDebianBase: additions to a Debian go through its symlinks and leave its
// directories as they are, and the image runs: its own shell, and a program
// that was added to /bin.
func TestDebianBase(t *testing.T) {
	needRoot(t)
	dir := openDir(t, "")
	debianImage(t, dir)
	for _, name := range []string{"bin/hello", "opt/abs/bin/tool", "opt/chain/one", "opt/deep/two"} {
		put(t, filepath.Join(dir, "add", name), "#!/bin/sh\necho "+name+"\n", 0o755)
	}
	for _, name := range []string{"var/mail/root", "root/notes", "var/local/x", "lib/data"} {
		put(t, filepath.Join(dir, "add", name), name+"\n", 0o644)
	}
	for name, mode := range map[string]os.FileMode{"bin": 0o700, "lib": 0o777, "opt/chain": 0o700, "root": 0o755, "var/mail": 0o700} {
		must(t, os.Chmod(filepath.Join(dir, "add", name), mode))
	}
	mustRun(t, dir, "build", "--name", "varve-debian", "--tag", "one", "--from", "links.tar", "--copy", "add", "-q", "-o", "child.tar")
	images, err := openImages(filepath.Join(dir, "child.tar"))
	must(t, err)
	var top strings.Builder
	layers := images[0].layers
	must(t, list(&top, layers[len(layers)-1]))
	if got := top.String(); got != debianTop {
		t.Errorf("the layer is\n%s\nwant\n%s", got, debianTop)
	}
	const probe = `hello && tool && /usr/local/lib/two && dash -c 'echo dash; readlink /bin; readlink /lib'
		stat -c '%a %u:%g %n' / /root /usr/bin /usr/lib /usr/local/bin /var/mail /var/local /usr/bin/dpkg
		cat /bin/../lib/data && dpkg --version >/dev/null && dpkg-query -W -f '${Status}\n' dash`
	const want = "bin/hello\nopt/abs/bin/tool\nopt/deep/two\ndash\nusr/bin\nusr/lib\n" +
		"755 0:0 /\n700 0:0 /root\n755 0:0 /usr/bin\n755 0:0 /usr/lib\n755 0:0 /usr/local/bin\n2775 0:8 /var/mail\n2775 0:50 /var/local\n" +
		"755 0:0 /usr/bin/dpkg\nlib/data\ninstall ok installed\n"
	for _, name := range []string{"docker", "podman"} {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			image, err := engine.Load(t.Context(), filepath.Join(dir, "child.tar"))
			must(t, err)
			shown := want
			if name == "podman" { // it gives the root this mode whatever the image says
				shown = strings.Replace(shown, "755 0:0 /\n", "555 0:0 /\n", 1)
			}
			enginetest.CheckRun(t, engine, image, enginetest.Result{Stdout: shown}, "/bin/sh", "-c", probe)
			must(t, engine.Remove(t.Context(), image))
		})
	}
}

// debianTop is the listing of the layer: each file where the links lead, each
// directory as Debian has it.
const debianTop = `d 0755 0:0 ./
d 0755 0:0 ./opt/
d 0700 0:0 ./root/
- 0644 0:0 11 ./root/notes
d 0755 0:0 ./usr/
d 0755 0:0 ./usr/bin/
- 0755 0:0 25 ./usr/bin/hello
d 0755 0:0 ./usr/lib/
- 0644 0:0 9 ./usr/lib/data
d 0755 0:0 ./usr/local/
d 0755 0:0 ./usr/local/bin/
- 0755 0:0 32 ./usr/local/bin/tool
d 0755 0:0 ./usr/local/lib/
- 0755 0:0 29 ./usr/local/lib/one
- 0755 0:0 28 ./usr/local/lib/two
d 0755 0:0 ./var/
d 2775 0:50 ./var/local/
- 0644 0:0 12 ./var/local/x
d 2775 0:8 ./var/mail/
- 0644 0:0 14 ./var/mail/root
`

// TestDebianRefuses: an addition that would break a Debian is an error that says why.
func TestDebianRefuses(t *testing.T) {
	dir := openDir(t, "")
	debianImage(t, dir)
	put(t, filepath.Join(dir, "file"), "x", 0o644)
	for target, says := range map[string][]string{
		"/opt/missing/x":  {`"opt/missing"`, `symlink to "/nowhere"`, `nothing at "nowhere"`},
		"/opt/loop/x":     {`"opt/loop"`, "circle"},
		"/opt/file/x":     {`"opt/file"`},
		"/etc/passwd/x":   {`"etc/passwd"`, "regular file"},
		"/bin":            {`"bin"`},
		"/opt/chain/../x": {`"/opt/chain/../x" leads out of the image`},
	} {
		t.Run(target, func(t *testing.T) {
			o := run(t, varve(t, dir, "build", "--name", "bad", "--from", "links.tar", "--copy", "file:"+target, "-o", "bad.tar"))
			if o.code != 2 {
				t.Errorf("%s: exit code %d, want 2: %s", target, o.code, o.stderr)
			}
			mustFind(t, o.stderr, says...)
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "bad.tar")); err == nil {
		t.Error("there is an output")
	}
}
