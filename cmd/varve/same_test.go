package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/goldenstore"
	"github.com/varve-image/varve/internal/testtools"
)

// checkout is a spec with its files, in a directory.
type checkout struct{ dir string }

// sameSpec has everything that an image can be made of.
const sameSpec = `name: same
copyToRoot:
  - rootfs
  - {source: packed.tar.gz, target: /opt}
  - {source: rootfs/etc/motd, target: /etc/issue, mode: 0640, owner: "1:2"}
contents: [%s, %s]
presets:
  - tmp
  - shadow
  - nss: {extraPasswdLines: ["app:x:1000:1000::/home/app:/bin/sh"]}
perms:
  - {path: "/srv/**", uid: 1000, gid: 1000}
  - {path: /srv/secret, mode: 0600}
  - {path: /bin/tool, mode: 04755, capabilities: cap_net_raw+ep}
config:
  Cmd: [/bin/tool]
  Env: [CONFIG=%s]
labels: {b: "2", a: "1"}
includeNixDB: true
`

// newCheckout makes the spec and its files below dir. variant changes what a build
// must not depend on: the order in which files are made, and their times.
func newCheckout(t testing.TB, dir string, variant int) checkout {
	t.Helper()
	files := map[string]string{
		"rootfs/etc/motd":         "hello\n",
		"rootfs/etc/empty":        "",
		"rootfs/bin/tool":         strings.Repeat("0123456789abcdef", 200_000),
		"rootfs/srv/secret":       "secret",
		"rootfs/srv/a/b/c/d":      "deep",
		"rootfs/srv/a.b":          "sorted by component",
		"rootfs/srv/héllo wörld":  "names",
		"rootfs/srv/not\xffutf8":  "bytes",
		"rootfs/srv/zz/Zz":        "case",
		"rootfs/srv/zz/zz":        "case",
		"rootfs/srv/" + long(120): "long",
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	if variant%2 == 1 {
		slices.Reverse(names)
	}
	for _, name := range names {
		put(t, filepath.Join(dir, name), files[name], 0o644)
		when := time.Unix(1_000_000_000+int64(variant)*12345, 0)
		must(t, os.Chtimes(filepath.Join(dir, name), when, when))
	}
	must(t,
		os.Symlink("srv/a", filepath.Join(dir, "rootfs/link")),
		os.Symlink("/nowhere", filepath.Join(dir, "rootfs/dangling")),
		os.Link(filepath.Join(dir, "rootfs/etc/motd"), filepath.Join(dir, "rootfs/srv/hard")))
	packed := filepath.Join(dir, "packed.tar.gz")
	must(t, writeTar(packed, func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: "packed/file", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3}); err != nil {
			return err
		}
		_, err := w.Write([]byte("abc"))
		return err
	}), os.Chmod(packed, 0o644))
	_, err := goldenstore.Make(filepath.Join(dir, "root"))
	must(t, err, os.Chmod(filepath.Join(dir, "root"), 0o755))
	spec := fmt.Sprintf(sameSpec, goldenstore.Path("app-1.0"), goldenstore.Path("hardlinks"), goldenstore.Path("config.json"))
	put(t, filepath.Join(dir, "image.yaml"), spec, 0o644)
	return checkout{dir}
}

func long(n int) string { return strings.Repeat("n", n) }

// destinations lists the forms of an image, by the value of -o for the path out.
var destinations = []struct{ name, dest, file string }{
	{"tar", "%s/a.tar", "a.tar"},
	{"docker-archive", "docker-archive:%s/docker.tar", "docker.tar"},
	{"tar.gz", "%s/a.tar.gz", "a.tar.gz"},
	{"tar.zst", "%s/a.tar.zst", "a.tar.zst"},
	{"oci", "%s/layout/", "layout"},
	{"oci-archive", "oci-archive:%s/a.oci:name", "a.oci"},
}

// circumstance is what a build must not depend on.
type circumstance struct {
	name string
	// wrap changes the command; nil leaves it as it is.
	wrap func(*exec.Cmd)
	// from is the checkout that is built; nil means the usual one.
	from *checkout
	// need skips the test if the circumstance is not available.
	need func(t *testing.T)
}

// TestSameBytes: the same image comes out, to the last byte in every form, whatever
// the umask, the environment, the user, the number of processors, the file system,
// and the place and age of the files. All forms have the same id.
func TestSameBytes(t *testing.T) {
	usual := newCheckout(t, openDir(t, ""), 0)
	want := map[string]string{}
	ids := map[string]bool{}
	for _, d := range destinations {
		want[d.name] = usual.build(t, d.dest, d.file, nil)
		id, _, _ := strings.Cut(want[d.name], "\n")
		ids[id] = true
	}
	if len(ids) != 1 {
		t.Errorf("the forms have %d ids: %v", len(ids), ids)
	}
	for _, c := range circumstances(t) {
		t.Run(c.name, func(t *testing.T) {
			if c.need != nil {
				c.need(t)
			}
			from := usual
			if c.from != nil {
				from = *c.from
			}
			for _, d := range destinations {
				if got := from.build(t, d.dest, d.file, c.wrap); got != want[d.name] {
					t.Errorf("%s differs:\n%s\nwant\n%s", d.name, got, want[d.name])
				}
			}
		})
	}
}

// circumstances returns those that this machine can bring about.
func circumstances(t *testing.T) []circumstance {
	list := []circumstance{
		{name: "again"},
		{name: "no environment", wrap: func(c *exec.Cmd) { c.Env = []string{} }},
		{name: "user nobody", need: needRoot, wrap: asNobody},
	}
	for _, umask := range []string{"000", "022", "077"} {
		list = append(list, circumstance{name: "umask " + umask, wrap: inShell("umask " + umask)})
	}
	for _, env := range []string{
		"TZ=Asia/Kathmandu", "TZ=nonsense", "LC_ALL=tr_TR.UTF-8", "LC_ALL=C", "LANG=de_DE.ISO-8859-1",
		"HOME=", "HOME=/elsewhere", "GOMAXPROCS=1", "GOMAXPROCS=2", "GOMAXPROCS=8", "GOGC=10",
	} {
		list = append(list, circumstance{name: env, wrap: func(c *exec.Cmd) { c.Env = append(c.Env, env) }})
	}
	other := newCheckout(t, filepath.Join(openDir(t, ""), "another/place with spaces"), 1)
	list = append(list, circumstance{name: "another checkout", from: &other})
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		inMemory := newCheckout(t, openDir(t, "/dev/shm"), 3)
		list = append(list, circumstance{name: "tmpfs", from: &inMemory})
	}
	return list
}

func needRoot(t *testing.T) { testtools.NeedRoot(t) }

func asNobody(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

const nobody = 65534

// inShell runs a command after a line of shell.
func inShell(line string) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		c.Args = append([]string{"/bin/sh", "-c", line + ` && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	}
}

// build builds the checkout and returns the digests of the result: of the files,
// and of the config, which is the image's id.
func (c checkout) build(t *testing.T, dest, file string, wrap func(*exec.Cmd)) string {
	t.Helper()
	out := openDir(t, "")
	must(t, os.Chmod(out, 0o777))
	cmd := varve(t, c.dir, "build", "image.yaml", "--no-cache", "--root", filepath.Join(c.dir, "root"), "-q", "-o", fmt.Sprintf(dest, out))
	if wrap != nil {
		wrap(cmd)
	}
	if o := run(t, cmd); o.code != 0 || o.stderr != "" {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	if left := names(out); !slices.Equal(left, []string{file}) {
		t.Errorf("there is %q, want %q alone", left, file)
	}
	path := filepath.Join(out, file)
	images, err := openImages(path)
	if err != nil || len(images) != 1 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "id %x\n", sha256.Sum256(images[0].config))
	b.WriteString(fingerprint(t, path, false))
	return b.String()
}
