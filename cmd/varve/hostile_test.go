package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// badInput is a bad input. prepare gets the directory that varve runs in.
type badInput struct {
	name    string
	prepare func(t *testing.T, dir string)
	// args follow "build"; none is image.yaml.
	args []string
	// code is the exit code; 0 means 2.
	code int
	// message is what the error has to contain: source, entry or field; reason.
	message []string
	nobody  bool
	// slow says that it may take its time, and memory how much memory it may use if
	// that is not maxPeak.
	slow   bool
	memory int64
}

// maxPeak limits the memory for refusing any input, in bytes.
const maxPeak = 512 << 20

// TestHostile: bad input is refused with one error that says where and why, in
// limited time and memory. Nothing is written, inside the output's directory or
// elsewhere, and no temporary file is left.
func TestHostile(t *testing.T) {
	for _, group := range [][]badInput{hostileSpecs(), hostileSources(), hostileTarballs(), hostileNix()} {
		for _, h := range group {
			t.Run(h.name, h.run)
		}
	}
}

func (h badInput) run(t *testing.T) {
	dir := openDir(t, "")
	for _, name := range []string{"tmp", "out", "canary"} {
		makeDirs(t, filepath.Join(dir, name))
	}
	canary := filepath.Join(dir, "canary")
	put(t, filepath.Join(canary, "file"), "untouched", 0o644)
	put(t, filepath.Join(canary, "etc/passwd"), "root", 0o600)
	h.prepare(t, dir)
	args := h.args
	if args == nil {
		args = []string{"image.yaml"}
	}
	before := fingerprint(t, canary, true)
	for _, dest := range []string{"out/a.tar", "out/a.tar.gz", "out/layout/", "oci-archive:out/a.oci"} {
		cmd := varve(t, dir, append([]string{"build", "-o", dest}, args...)...)
		cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(dir, "tmp"))
		if h.nobody {
			must(t, os.Chmod(filepath.Join(dir, "tmp"), 0o777), os.Chmod(filepath.Join(dir, "out"), 0o777))
			asNobody(cmd)
		}
		h.check(t, run(t, cmd))
		for _, place := range []string{"tmp", "out"} {
			if left := names(filepath.Join(dir, place)); len(left) > 0 {
				t.Errorf("%s: left in %s: %q", dest, place, left)
			}
		}
		if t.Failed() {
			return
		}
	}
	if after := fingerprint(t, canary, true); after != before {
		t.Errorf("the canary is\n%s\nand was\n%s", after, before)
	}
}

func (h badInput) check(t *testing.T, o outcome) {
	t.Helper()
	want := h.code
	if want == 0 {
		want = 2
	}
	if o.code != want {
		t.Errorf("exit code %d, want %d", o.code, want)
	}
	if n := strings.Count("\n"+o.stderr, "\nvarve: "); n != 1 || o.stdout != "" {
		t.Errorf("%d errors and %d bytes on standard output, want one and none", n, len(o.stdout))
	}
	mustFind(t, o.stderr, h.message...)
	for _, r := range o.stderr {
		if r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			t.Errorf("the message holds the control character %U", r)
		}
	}
	if len(o.stderr) > 64<<10 {
		t.Errorf("the message has %d bytes", len(o.stderr))
	}
	// A machine may have other work, and a command that waits is killed at some time.
	if o.cpu > deadline && !h.slow || o.code < 0 {
		t.Errorf("it took %v, and %v of a processor", o.took, o.cpu)
	}
	if o.peak > max(maxPeak, h.memory) {
		t.Errorf("it took %d MiB of memory", o.peak>>20)
	}
	if t.Failed() {
		t.Logf("stderr: %.2000s", o.stderr)
	}
}

// spec prepares a spec with the given text.
func spec(text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { put(t, filepath.Join(dir, "image.yaml"), text, 0o644) }
}

// hostileSpecs returns the rows "Spec": what a spec can contain.
func hostileSpecs() []badInput {
	name := "name: hello\n"
	list := []badInput{
		{name: "unknown key", prepare: spec(name + "nmae: x\n"), message: []string{"image.yaml:2:1: nmae: unknown field", `did you mean "name"?`}},
		{name: "key in another case", prepare: spec("Name: hello\n"), message: []string{"Name: unknown field", `"name"`}},
		{name: "repeated key", prepare: spec(name + name), message: []string{"image.yaml:2:1: name: given twice, first on line 1"}},
		{name: "second document", prepare: spec(name + "---\n" + name), message: []string{"image.yaml:2", "document"}},
		{name: "trailing JSON", prepare: spec(`{"name": "hello"} {"name": "other"}`), message: []string{"image.yaml:1"}},
		{name: "depth", prepare: spec(name + "config: {x: " + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}\n"), message: []string{"image.yaml:2:", "depth"}},
		{name: "depth in JSON", prepare: spec(`{"name": "x", "config": ` + strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_001)), message: []string{"image.yaml:1:", "depth"}},
		{name: "aliases", prepare: spec("a: &a [x,x,x,x,x,x,x,x,x]\n" + laughs()), message: []string{"image.yaml"}},
		{name: "large", prepare: func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "image.yaml"), name, 0o644)
			must(t, os.Truncate(filepath.Join(dir, "image.yaml"), 1<<30))
		}, message: []string{"image.yaml"}},
		{name: "not UTF-8", prepare: spec(name + "tag: \"\xff\"\n"), message: []string{"image.yaml"}},
		{name: "binary", prepare: spec("\x7fELF\x00\x00\x01"), message: []string{"image.yaml"}},
		{name: "escape in a key", prepare: spec(name + "\"\\e[31mred\": x\n"), message: []string{`\x1b[31mred`, "unknown field"}},
		{name: "tag", prepare: spec(name + "tag: \"a\\nb\"\n"), message: []string{"tag: ", `"a\nb"`}},
		{name: "target leads out", prepare: copySpec("{source: canary, target: ../../x}"), message: []string{"target", "../../x"}},
		{name: "target with NUL", prepare: copySpec(`{source: canary, target: "/a\0b"}`), message: []string{"target", `\x00`}},
		{name: "source with NUL", prepare: copySpec(`"a\0b"`), message: []string{"copyToRoot[0]", `\x00`}},
		{name: "source with a newline", prepare: copySpec(`"a\nvarve: forged"`), message: []string{"copyToRoot[0]", `a\nvarve: forged`}},
		{name: "two sources, one destination", prepare: twoSources, message: []string{"one/f", "two/f", `"etc/f"`}},
	}
	for _, bad := range []string{"../x", "a/../b", `"a\0b"`, `"a\nb"`, "a b", "/a", `""`, "a:b@c", "[x]"} {
		list = append(list, badInput{name: "name " + bad, prepare: spec("name: " + bad + "\n"), message: []string{"image.yaml:1:7: name"}})
	}
	for _, bad := range []string{"-1", "4294967295", "4294967296", `"0x0"`, "0x0", "010", "1e3", "18446744073709551616", "true"} {
		list = append(list,
			badInput{name: "uid " + bad, prepare: spec(name + "uid: " + bad + "\n"), message: []string{"image.yaml:2:6: uid"}},
			badInput{name: "perms uid " + bad, prepare: spec(name + "perms: [{path: /, uid: " + bad + "}]\n"), message: []string{"perms[0].uid"}})
	}
	return list
}

// laughs returns YAML whose aliases stand for nine times as much on each line.
func laughs() string {
	var b strings.Builder
	for c := 'b'; c <= 'j'; c++ {
		fmt.Fprintf(&b, "%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	return b.String()
}

// copySpec prepares a spec that copies the source, as YAML.
func copySpec(source string) func(*testing.T, string) {
	return spec("name: hello\ncopyToRoot: [" + source + "]\n")
}

func twoSources(t *testing.T, dir string) {
	put(t, filepath.Join(dir, "one/f"), "1", 0o644)
	put(t, filepath.Join(dir, "two/f"), "2", 0o644)
	copySpec("{source: one/f, target: /etc/f}, {source: two/f, target: /etc/f}")(t, dir)
}

// copyTree runs varve over a directory called tree.
var copyTree = []string{"--name", "hello", "--copy", "tree"}

// hostileSources returns what a source can be, or contain.
func hostileSources() []badInput {
	inTree := func(name string, make func(path string) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			makeDirs(t, filepath.Join(dir, "tree"))
			must(t, make(filepath.Join(dir, "tree", name)))
		}
	}
	fifo := func(path string) error { return syscall.Mkfifo(path, 0o644) }
	return []badInput{
		{name: "FIFO", prepare: inTree("f", fifo), args: copyTree, message: []string{"tree/f", "is a FIFO"}},
		{name: "FIFO as source", prepare: inTree("f", fifo), args: []string{"--name", "x", "--copy", "tree/f"}, message: []string{"tree/f", "is a FIFO"}},
		{name: "FIFO as tarball", prepare: inTree("f.tar.gz", fifo), args: []string{"--name", "x", "--copy", "tree/f.tar.gz"}, message: []string{"tree/f.tar.gz", "is a FIFO"}},
		{name: "FIFO as certificates", prepare: inTree("f", fifo), args: []string{"--name", "x", "--preset", "caCertificates=tree/f"}, message: []string{"tree/f"}},
		{name: "FIFO as closure", prepare: inTree("f", fifo), args: []string{"--name", "x", "--closure", "tree/f"}, message: []string{"tree/f"}},
		{name: "socket", prepare: inTree("s", socket), args: copyTree, message: []string{"tree/s", "is a socket"}},
		{name: "device", prepare: func(*testing.T, string) {}, args: []string{"--name", "x", "--copy", "/dev/zero"}, message: []string{`"/dev/zero" is a device`}},
		{name: "link to a device", prepare: inTree("d", func(p string) error { return os.Symlink("/dev/zero", p) }), args: []string{"--name", "x", "--copy", "tree/d"}, message: []string{`"/dev/zero" is a device`}},
		{name: "device in a tree", prepare: func(t *testing.T, dir string) {
			testtools.NeedRoot(t)
			makeDirs(t, filepath.Join(dir, "tree"))
			if err := syscall.Mknod(filepath.Join(dir, "tree/null"), syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
				testtools.Lack(t, "device nodes: %v", err)
			}
		}, args: copyTree, message: []string{"tree/null", "is a device"}},
		{name: "missing", prepare: func(*testing.T, string) {}, args: copyTree, message: []string{"copyToRoot[0]", "tree", "no such file"}},
		{name: "below a file", prepare: inTree("f", func(p string) error { return os.WriteFile(p, nil, 0o644) }), args: []string{"--name", "x", "--copy", "tree/f/g"}, message: []string{"tree/f/g", "not a directory"}},
		{name: "loop of links", prepare: inTree("l", func(p string) error { return os.Symlink("l", p) }), args: []string{"--name", "x", "--copy", "tree/l"}, message: []string{"tree/l", "too many"}},
		{name: "name with escapes", prepare: inTree("\x1b[2Jgone\nvarve: forged", fifo), args: copyTree, message: []string{`\x1b[2Jgone\nvarve: forged`, "is a FIFO"}},
		{name: "unreadable file", nobody: true, code: 1, prepare: func(t *testing.T, dir string) {
			testtools.NeedRoot(t)
			put(t, filepath.Join(dir, "tree/secret"), "x", 0o000)
		}, args: copyTree, message: []string{"tree/secret", "permission denied"}},
		{name: "unreadable directory", nobody: true, code: 1, prepare: func(t *testing.T, dir string) {
			testtools.NeedRoot(t)
			put(t, filepath.Join(dir, "tree/secret/x"), "x", 0o644)
			must(t, os.Chmod(filepath.Join(dir, "tree/secret"), 0o700))
		}, args: copyTree, message: []string{"tree/secret", "permission denied"}},
		{name: "unreadable spec", nobody: true, code: 1, prepare: func(t *testing.T, dir string) {
			testtools.NeedRoot(t)
			put(t, filepath.Join(dir, "image.yaml"), "name: x", 0o600)
		}, message: []string{"image.yaml", "permission denied"}},
		{name: "whiteout", prepare: inTree(".wh.etc", func(p string) error { return os.WriteFile(p, nil, 0o644) }), args: copyTree, message: []string{".wh.etc"}},
	}
}

// socket makes a socket at path, which may be longer than a socket's name.
func socket(path string) error {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		return err
	}
	defer l.Close()
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return os.Rename(dir+"/s", path)
}

// tarball prepares the tarball t.tar of the entries, and the spec that copies
// it.
func tarball(headers ...tar.Header) func(*testing.T, string) {
	return rawTarball("t.tar", func(t *testing.T) []byte { return tarOf(t, headers...) })
}

func rawTarball(name string, data func(*testing.T) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		put(t, filepath.Join(dir, name), string(data(t)), 0o644)
		copySpec(name)(t, dir)
	}
}

// tarOf makes a tar of headers, whose files contain "x" as often as their sizes say.
func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size)))
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

// hostileTarballs returns the rows on trees, as far as a copied tarball can have them.
func hostileTarballs() []badInput {
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}
	}
	hard := func(name, target string) tar.Header {
		return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}
	}
	file := func(name string) tar.Header { return tar.Header{Name: name, Size: 1} }
	dir := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
	whole := func(t *testing.T) []byte { return tarOf(t, file("a"), file("b")) }
	list := []badInput{
		{name: "leads out", prepare: tarball(file("../canary/file")), message: []string{"../canary/file"}},
		{name: "leads out later", prepare: tarball(file("a/../../canary/file")), message: []string{"a/../../canary/file"}},
		{name: "through a link", prepare: tarball(link("d", "../canary"), file("d/file")), message: []string{`"d/file"`, `"d"`}},
		{name: "through an absolute link", prepare: tarball(link("d", "/"), file("d/etc/passwd")), message: []string{`"d/etc/passwd"`, `"d"`}},
		{name: "through a chain", prepare: tarball(dir("a"), link("a/b", ".."), link("a/b/c", "../canary"), file("a/b/c/file")), message: []string{`"a/b`}},
		{name: "hard link leads out", prepare: tarball(hard("h", "../canary/file")), message: []string{`"h"`, "../canary/file"}},
		{name: "absolute hard link", prepare: tarball(hard("h", "/etc/passwd")), message: []string{`"h"`, "etc/passwd"}},
		{name: "hard link through a link", prepare: tarball(link("d", "../canary"), hard("h", "d/file")), message: []string{`"h"`, "d/file"}},
		{name: "hard link to a directory", prepare: tarball(dir("d"), hard("h", "d")), message: []string{`"h"`}},
		{name: "hard link to itself", prepare: tarball(hard("h", "h")), message: []string{`"h"`}},
		{name: "hard link to a later one", prepare: tarball(hard("h", "later"), file("later")), message: []string{`"h"`, "later"}},
		{name: "whiteouts", prepare: tarball(file(".wh.etc"), file("d/.wh..wh..opq")), message: []string{`.wh.etc`, ".wh..wh..opq"}},
		{name: "overlay whiteout", prepare: tarball(tar.Header{Name: "gone", Typeflag: tar.TypeChar}), message: []string{`"gone"`}},
		{name: "file, then directory", prepare: tarball(file("a"), file("a/b")), message: []string{`"a/b"`, `"a"`}},
		{name: "directory, then file", prepare: tarball(file("a/b"), file("a")), message: []string{`"a"`}},
		{name: "user id", prepare: tarball(tar.Header{Name: "f", Uid: 1 << 32, Format: tar.FormatGNU}), message: []string{`"f"`, "4294967296"}},
		{name: "no user id", prepare: tarball(tar.Header{Name: "f", Uid: 1<<32 - 1, Format: tar.FormatGNU}), message: []string{`"f"`, "4294967295"}},
		{name: "long name", prepare: tarball(file(long(256))), message: []string{"nnnn"}},
		{name: "long path", prepare: tarball(file(strings.Repeat("d/", 2500) + "f")), message: []string{"d/d/d"}},
		{name: "deep", prepare: tarball(file(strings.Repeat("d/", 10_000) + "f")), message: []string{"d/d/d"}},
		{name: "escapes", prepare: tarball(file("\x1b]0;title\a/../..")), message: []string{`\x1b]0;title\a`}},
		{name: "cut in a header", prepare: rawTarball("t.tar", func(t *testing.T) []byte { return whole(t)[:700] }), message: []string{"t.tar"}},
		{name: "cut in a file", prepare: rawTarball("t.tar", func(t *testing.T) []byte { return tarOf(t, tar.Header{Name: "big", Size: 5000})[:2048] }), message: []string{"t.tar", "big"}},
		{name: "cut between blocks", prepare: rawTarball("t.tar", func(t *testing.T) []byte { return whole(t)[:1024] }), message: []string{"t.tar"}},
		{name: "without an end", prepare: rawTarball("t.tar", func(t *testing.T) []byte { return whole(t)[:2048] }), message: []string{"t.tar"}},
		{name: "bytes after the end", prepare: rawTarball("t.tar", func(t *testing.T) []byte { return append(whole(t), 'x') }), message: []string{"t.tar", "after"}},
		{name: "no tar", prepare: rawTarball("t.tar", func(*testing.T) []byte { return []byte(long(2000)) }), message: []string{"t.tar", "tar"}},
		{name: "empty", prepare: rawTarball("t.tar", func(*testing.T) []byte { return nil }), message: []string{"t.tar"}},
		{name: "huge", prepare: rawTarball("t.tar", func(t *testing.T) []byte {
			data := tarOf(t, tar.Header{Name: "huge", Format: tar.FormatGNU})
			return append(withSize(data[:512], 1<<62), data[512:]...)
		}), message: []string{"t.tar", "huge"}},
		{name: "wrong checksum", prepare: rawTarball("t.tar", func(t *testing.T) []byte {
			data := whole(t)
			data[1024+20] ^= 1
			return data
		}), message: []string{"t.tar"}},
		{name: "cut gzip", prepare: rawTarball("t.tar.gz", func(t *testing.T) []byte { return compressed(t, "t.tar.gz")[:60] }), message: []string{"t.tar.gz"}},
		{name: "damaged gzip", prepare: rawTarball("t.tar.gz", func(t *testing.T) []byte {
			data := compressed(t, "t.tar.gz")
			data[len(data)-6] ^= 1
			return data
		}), message: []string{"t.tar.gz"}},
		{name: "cut zstd", prepare: rawTarball("t.tar.zst", func(t *testing.T) []byte { return compressed(t, "t.tar.zst")[:60] }), message: []string{"t.tar.zst"}},
		{name: "window of 2 GiB", prepare: rawTarball("t.tar.zst", func(*testing.T) []byte { return []byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00") }), message: []string{"t.tar.zst"}},
		{name: "xz", prepare: rawTarball("t.tar.xz", func(*testing.T) []byte { return []byte("\xfd7zXZ\x00" + long(600)) }), message: []string{"t.tar.xz", "decompress xz", "damaged"}},
	}
	for i := range list { // a file's content is not the spec's fault
		list[i].code = 1
	}
	return list
}

// withSize makes a header state another size, in base 256 as GNU tar does.
func withSize(header []byte, size int64) []byte {
	h := bytes.Clone(header)
	field := h[124:136]
	clear(field)
	field[0] = 0x80
	for i := range 8 {
		field[11-i] = byte(size >> (8 * i))
	}
	copy(h[148:156], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// compressed returns a small tarball, compressed as the ending of the name says.
func compressed(t *testing.T, name string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, writeTar(path, func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: "f", Size: 8, Mode: 0o644}); err != nil {
			return err
		}
		_, err := w.Write([]byte("contents"))
		return err
	}))
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}
