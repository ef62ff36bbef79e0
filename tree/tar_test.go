package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/hostile"
	"github.com/varve-image/varve/internal/testtools"
)

func TestOpenTar(t *testing.T) {
	capability, err := EncodeCapabilities("cap_net_raw=ep")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		headers []tar.Header
		want    string
		errs    []string
	}{
		{name: "empty", want: "\n. 5 0755 0:0 implied\n"},
		{name: "names are normalised, parents implied", headers: []tar.Header{dir("./"), reg("/abs", "1"), reg("./dot", "2"), dir("a//b/"), reg("a/b/./c", "3"), reg("x/y", "")}, want: `
. 5 0755 0:0
a 5 0755 0:0 implied
a/b 5 0755 0:0
a/b/c 0 0644 0:0 "3"
abs 0 0644 0:0 "1"
dot 0 0644 0:0 "2"
x 5 0755 0:0 implied
x/y 0 0644 0:0 ""
`},
		{name: "canonical order", headers: []tar.Header{reg("a-b", ""), reg("a/b", ""), reg("a.", "")}, want: `
. 5 0755 0:0 implied
a 5 0755 0:0 implied
a/b 0 0644 0:0 ""
a-b 0 0644 0:0 ""
a. 0 0644 0:0 ""
`},
		{name: "attributes", headers: []tar.Header{
			{Name: "f", Typeflag: tar.TypeReg, Mode: 0o104755, Uid: 4294967294, Gid: 5},
			{Name: "c", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
			{Name: "b", Typeflag: tar.TypeBlock, Mode: 0o660, Devmajor: 8},
			{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o600},
			{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../etc//passwd", Mode: 0o644}}, want: `
. 5 0755 0:0 implied
b 4 0660 0:0 8,0
c 3 0666 0:0 1,3
f 0 4755 4294967294:5 ""
l 2 0777 0:0 -> ../../etc//passwd
p 6 0600 0:0
`},
		{name: "later entries replace earlier ones", headers: []tar.Header{reg("f", "old"), dir("d"), sym("g", "x"), reg("f", "new"), {Name: "d/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 3}, reg("g", "file")}, want: `
. 5 0755 0:0 implied
d 5 0700 3:0
f 0 0644 0:0 "new"
g 0 0644 0:0 "file"
`},
		{name: "hard links are what their target is at that point", headers: []tar.Header{reg("f", "old"), hard("h", "./f"), reg("f", "new"), sym("s", "f"), hard("s2", "/s")}, want: `
. 5 0755 0:0 implied
f 0 0644 0:0 "new"
h 0 0644 0:0 "old"
s 2 0777 0:0 -> f
s2 2 0777 0:0 -> f
`},
		{name: "global header", headers: []tar.Header{{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, reg("f", "x")}, want: `
. 5 0755 0:0 implied
f 0 0644 0:0 "x"
`},
		{name: "global header with a path", headers: []tar.Header{{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "evil", "comment": "x"}}, reg("f", "x")}, errs: []string{`global PAX header with a "path"`}},
		{name: "many errors at once", headers: []tar.Header{reg("../x", ""), reg("a/../../x", ""), reg("ok", ""), hard("h", "../etc/passwd"), hard("i", "none"), hard("j", "j"), dir("d"), hard("k", "d")},
			errs: []string{`entry "../x": `, `entry "a/../../x": `, `entry "h": it is a hard link: "../etc/passwd" holds ".."`, `entry "i": it is a hard link to "none", which is not in`, `entry "j": it is a hard link to itself`, `entry "k": it is a hard link to "d", which is a directory`}},
		{name: "below a symlink", headers: []tar.Header{sym("l", "/etc"), reg("l/passwd", "")}, errs: []string{`entry "l/passwd" lies below the symlink "l" (to "/etc")`}},
		{name: "below a symlink, link last", headers: []tar.Header{reg("l/passwd", ""), sym("l", "/etc")}, errs: []string{`entry "l/passwd" lies below the symlink "l"`}},
		{name: "below a file", headers: []tar.Header{reg("f", ""), reg("f/x", "")}, errs: []string{`entry "f/x" lies below "f", which is a regular file`}},
		{name: "symlink, then directory", headers: []tar.Header{sym("l", "/etc"), dir("l"), reg("l/x", "")}, errs: []string{`entry "l": it is a directory here and a symlink earlier`}},
		{name: "directory, then file", headers: []tar.Header{dir("l"), reg("l", "")}, errs: []string{`entry "l": it is a regular file here and a directory earlier`}},
		{name: "whiteout", headers: []tar.Header{reg("a/.wh.b", "")}, errs: []string{`entry "a/.wh.b": ".wh.b" is a whiteout`}},
		{name: "opaque whiteout", headers: []tar.Header{reg("a/.wh..wh..opq", "")}, errs: []string{`is a whiteout`}},
		{name: "overlayfs whiteout", headers: []tar.Header{{Name: "c", Typeflag: tar.TypeChar}}, errs: []string{`entry "c": the character device 0:0`}},
		{name: "root is a symlink", headers: []tar.Header{sym("./", "/etc")}, errs: []string{`entry "./": the root must be a directory`}},
		{name: "uid", headers: []tar.Header{{Name: "f", Typeflag: tar.TypeReg, Uid: 1<<32 - 1}, {Name: "g", Typeflag: tar.TypeReg, Gid: 1 << 32}, {Name: "h", Typeflag: tar.TypeReg, Uid: -1}},
			errs: []string{`entry "f": its owner 4294967295:0 is not`, `entry "g": its owner 0:4294967296`, `entry "h": its owner -1:0`}},
		{name: "times", headers: []tar.Header{{Name: "f", Typeflag: tar.TypeReg, ModTime: time.Unix(-1, 0)}, {Name: "g", Typeflag: tar.TypeReg, ModTime: time.Unix(maxTime+1, 0)}},
			errs: []string{`entry "f": its time of -1 seconds`, `entry "g": its time of 253402300800`}},
		{name: "long names", headers: []tar.Header{reg(strings.Repeat("n", 256), ""), reg(strings.Repeat("d/", 2500)+"x", "")},
			errs: []string{`names have at most 255`, `paths have at most 4095`}},
		{name: "terminal escapes are quoted", headers: []tar.Header{reg("../\x1b[31mred", "")}, errs: []string{`"../\x1b[31mred"`}},
		{name: "capability", headers: []tar.Header{{Name: "d/", Typeflag: tar.TypeDir, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability}},
			{Name: "f", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability[:19]}}},
			errs: []string{`entry "d/": a directory has capabilities`, `entry "f": security.capability has 19 bytes`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := OpenTar(context.Background(), saveTar(t, makeTar(t, c.headers...)), TarOptions{})
			if wantError(t, err, c.errs...) {
				return
			}
			defer tr.Close()
			wantDump(t, tr.Entries, c.want)
		})
	}
}

func TestOpenTarXattrs(t *testing.T) {
	capability, _ := EncodeCapabilities("cap_net_raw=ep")
	records := map[string]string{
		"SCHILY.xattr.user.note":            "n",
		"SCHILY.xattr.user.overlay.opaque":  "y",
		"SCHILY.xattr.trusted.overlay.x":    "y",
		"SCHILY.xattr.security.selinux":     "label",
		"SCHILY.xattr.security.capability":  capability,
		"LIBARCHIVE.xattr.security.selinux": "bGFiZWw=",
	}
	tr, err := OpenTar(context.Background(), saveTar(t, makeTar(t, tar.Header{Name: "f", Typeflag: tar.TypeReg, PAXRecords: records})), TarOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	got := fmt.Sprintf("%q", tr.Entries[1].Xattrs)
	want := fmt.Sprintf("%q", map[string]string{"user.note": "n", "security.capability": capability})
	if got != want {
		t.Errorf("xattrs %s, want %s", got, want)
	}
}

func compressed(t testing.TB, data []byte, open func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	w := open(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func zst(w io.Writer) io.WriteCloser {
	z, err := zstd.NewWriter(w)
	if err != nil {
		panic(err)
	}
	return z
}

func TestOpenTarCompressed(t *testing.T) {
	plain := makeTar(t, reg("a/f", strings.Repeat("text ", 100_000)), reg("g", "2"))
	run := func(tool string, args ...string) []byte {
		cmd := exec.Command(testtools.Need(t, tool), args...)
		cmd.Stdin = bytes.NewReader(plain)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	skippable := append([]byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc"), compressed(t, plain, zst)...)
	for name, data := range map[string][]byte{
		"plain": plain, "gzip": compressed(t, plain, gz), "zstd": compressed(t, plain, zst), "skippable zstd": skippable,
		"bzip2": run("bzip2"), "xz": run("xz"), "xz -T": run("xz", "-T2", "--block-size=64KiB"), "gzip and zeros": append(compressed(t, plain, gz), 0, 0, 0), "zstd --long": run("zstd", "--long=27"), "trailing zeros": append(bytes.Clone(plain), make([]byte, 10240)...),
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			tr, err := OpenTar(context.Background(), saveTar(t, data), TarOptions{TempDir: temp})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got := content(t, tr.Entries[2]); got != strings.Repeat("text ", 100_000) {
					t.Errorf("content of %d bytes is wrong", len(got))
				}
			}
			if left, _ := os.ReadDir(temp); len(left) != 0 {
				t.Errorf("%q is left in the temporary directory", left)
			}
			if err := tr.Close(); err != nil {
				t.Fatal(err)
			}
			r, err := tr.Entries[3].Open()
			if err == nil {
				_, err = io.ReadAll(r)
			}
			wantError(t, err, `read "g" in tarball`, "closed")
		})
	}
	_, err := OpenTar(context.Background(), saveTar(t, []byte("LZIP\x01")), TarOptions{})
	wantError(t, err, "compressed with lzip", "decompress it first (lzip -d)")
	if _, err = OpenTar(context.Background(), saveTar(t, []byte("BZhello.txt is the first name\n")), TarOptions{}); err == nil {
		t.Error("text is a tarball")
	}
	tr, err := OpenTar(context.Background(), saveTar(t, makeTar(t, reg("BZh", "x"))), TarOptions{})
	if wantError(t, err) {
		return
	}
	tr.Close()
}

func TestOpenTarDamaged(t *testing.T) {
	whole := makeTar(t, reg("a", strings.Repeat("x", 1024)), reg("b", "y"))
	flipped := bytes.Clone(whole)
	flipped[512+1024+3] ^= 1
	withSize := makeTar(t, sym("l", "x"))
	copy(withSize[124:], "00000001000\x00")
	sum := 8 * int(' ')
	for i, b := range withSize[:512] {
		if i < 148 || i >= 156 {
			sum += int(b)
		}
	}
	copy(withSize[148:], fmt.Sprintf("%06o\x00 ", sum))
	gzBad := compressed(t, whole, gz)
	gzBad[len(gzBad)-5] ^= 1
	bomb := compressed(t, makeTar(t, reg("a", strings.Repeat("x", 1<<20))), gz)
	for _, c := range []struct {
		name string
		data []byte
		want []string
	}{
		{"empty", nil, []string{"not a tar archive"}},
		{"text", []byte("hello\n"), []string{"not a tar archive"}},
		{"more text", bytes.Repeat([]byte("hello\n"), 500), []string{"not a tar archive"}},
		{"cut in content", whole[:700], []string{`after entry "a"`, "unexpected EOF"}},
		{"cut in content at a block", whole[:1024], []string{`after entry "a"`}},
		{"cut between entries", whole[:1536], []string{`after entry "a"`, "cut short"}},
		{"cut in header", whole[:1600], []string{`after entry "a"`, "unexpected EOF"}},
		{"no end", whole[:2560], []string{`after entry "b"`, "cut short"}},
		{"half an end", whole[:3072], []string{`after entry "b"`, "cut short"}},
		{"checksum", flipped, []string{`after entry "a"`, "invalid tar header"}},
		{"trailing garbage", append(bytes.Clone(whole), "garbage"...), []string{"data at byte 3584, after the end"}},
		{"symlink with content", withSize, []string{`entry "l": a symlink cannot have a size, here of 512 bytes`}},
		{"gzip checksum", gzBad, []string{"gzip: invalid checksum"}},
		{"gzip cut", gzBad[:len(gzBad)-9], []string{"unexpected EOF"}},
		{"gzip of text", compressed(t, []byte("hello"), gz), []string{"not a tar archive"}},
		{"bomb", bomb, []string{"decompresses to more than 100000 bytes"}},
		{"zstd window", []byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00"), []string{"window size exceeded"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := saveTar(t, c.data)
			temp := t.TempDir()
			_, err := OpenTar(context.Background(), name, TarOptions{MaxBytes: 100_000, TempDir: temp})
			wantError(t, err, append(c.want, fmt.Sprintf("read tarball %q: ", name))...)
			if c.want[0] == "not a tar archive" && !errors.Is(err, ErrNotTar) {
				t.Error("the error is not ErrNotTar")
			}
			if left, _ := os.ReadDir(temp); len(left) != 0 {
				t.Errorf("%q is left", left)
			}
		})
	}
}

func TestOpenTarLimits(t *testing.T) {
	name := saveTar(t, makeTar(t, reg("a/b/c/d", ""), reg("e", "")))
	for limit, ok := range map[int]bool{5: false, 6: true} {
		tr, err := OpenTar(context.Background(), name, TarOptions{MaxEntries: limit})
		if (err == nil) != ok {
			t.Errorf("MaxEntries %d: %v", limit, err)
		}
		if err == nil {
			tr.Close()
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := OpenTar(ctx, name, TarOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpenTarNotAFile(t *testing.T) {
	d := t.TempDir()
	fifo := filepath.Join(d, "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{fifo: "it is a FIFO", d: "it is a directory", "/dev/null": "it is a device", filepath.Join(d, "none"): "no such file"} {
		_, err := OpenTar(context.Background(), name, TarOptions{})
		wantError(t, err, want, fmt.Sprintf("%q", name))
	}
}

func TestOpenTarChanged(t *testing.T) {
	name := saveTar(t, makeTar(t, reg("a", "text")))
	tr, err := OpenTar(context.Background(), name, TarOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "more")
	f.Close()
	r, err := tr.Entries[1].Open()
	if err == nil {
		_, err = io.ReadAll(r)
	}
	wantError(t, err, `read "a" in tarball`, "changed while it was read")
}

// sparseTars are GNU tar's archives of a sparse file in all of its formats, with
// the file's content: "after", "sparse", "zlast" and "sparse" again, twice.
func sparseTars(t testing.TB) (map[string][]byte, string) {
	t.Helper()
	tool := testtools.Need(t, "tar")
	src := t.TempDir()
	want := make([]byte, 3<<20)
	copy(want[1<<20:], "middle")
	copy(want[2<<20:], "later")
	f, err := os.Create(filepath.Join(src, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{1 << 20, 2 << 20} {
		if _, err := f.WriteAt(bytes.TrimRight(want[at:at+10], "\x00"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(3 << 20); err != nil {
		t.Fatal(err)
	}
	writeTree(t, src, "after=x", "zlast=y")
	tars := map[string][]byte{}
	for _, format := range [][]string{{"--format=gnu"}, {"--format=posix", "--sparse-version=0.0"}, {"--format=posix", "--sparse-version=0.1"}, {"--format=posix", "--sparse-version=1.0"}} {
		args := append([]string{"-C", src, "--hard-dereference", "-cS"}, append(format, "sparse", "after", "sparse", "zlast", "sparse")...)
		data, err := exec.Command(tool, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 1<<20 {
			t.Log("the file system keeps no holes")
		}
		tars[fmt.Sprint(format)] = data
	}
	return tars, string(want)
}

// TestOpenTarSparse reads what GNU tar writes of sparse files, in all of its
// formats, with and without compression.
func TestOpenTarSparse(t *testing.T) {
	tars, want := sparseTars(t)
	for format, data := range tars {
		for name, data := range map[string][]byte{"plain": data, "gzip": compressed(t, data, gz)} {
			tr, err := OpenTar(context.Background(), saveTar(t, data), TarOptions{})
			if err != nil {
				t.Errorf("%s %s: %v", format, name, err)
				continue
			}
			if len(tr.Entries) != 4 || content(t, tr.Entries[1]) != "x" || content(t, tr.Entries[3]) != "y" {
				t.Errorf("%s %s: wrong entries", format, name)
			} else if got := content(t, tr.Entries[2]); got != want {
				t.Errorf("%s %s: wrong content of the sparse file", format, name)
			}
			tr.Close()
			if _, err := OpenTar(context.Background(), saveTar(t, data), TarOptions{MaxBytes: 3<<20 - 1}); err == nil {
				t.Errorf("%s %s: expands beyond the limit", format, name)
			}
		}
	}
}

// checkTree fails unless entries are a canonical tree of safe names.
func checkTree(t testing.TB, entries []*Entry) {
	t.Helper()
	types := map[string]Type{}
	for i, e := range entries {
		if i > 0 && Compare(entries[i-1].Path, e.Path) >= 0 {
			t.Errorf("%q comes after %q", e.Path, entries[i-1].Path)
		}
		if p, err := archivePath(e.Path); err != nil || p != e.Path {
			t.Errorf("path %q (%v)", e.Path, err)
		}
		if i == 0 != (e.Path == ".") {
			t.Errorf("entry %d is %q", i, e.Path)
		}
		types[e.Path] = e.Type
		if e.Path != "." && types[filepath.Dir(e.Path)] != Dir {
			t.Errorf("%q lies below a non-directory", e.Path)
		}
		if e.Mode > 0o7777 || e.UID > MaxID || e.GID > MaxID {
			t.Errorf("%q has mode %o, owner %d:%d", e.Path, e.Mode, e.UID, e.GID)
		}
		if (e.Type == Regular) != (e.Content != nil) {
			t.Errorf("%q: Open does not fit its type", e.Path)
		}
	}
}

// plainTar returns a tarball without its compression.
func plainTar(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := decompressor(data[:min(512, len(data))], bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return data
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func FuzzOpenTar(f *testing.F) {
	plain := makeTar(f, dir("./"), reg("a/b", "text"), sym("l", "a"), hard("h", "a/b"), reg("b", strings.Repeat("x", 600)))
	f.Add(plain)
	f.Add(compressed(f, plain, gz))
	f.Add(compressed(f, plain, zst))
	f.Add(plain[:1024])
	f.Add(makeTar(f, tar.Header{Name: "f", Typeflag: tar.TypeReg, Uname: "abc", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b", "comment": "c"}}))
	f.Add(makeTar(f, reg("../x", ""), sym("l", "/etc"), reg("l/x", ""), reg(".wh.x", "")))
	f.Add(makeTar(f, tar.Header{Name: "GNUSparseFile.0/f", Typeflag: tar.TypeReg, Uname: "1\n0\n1\n" + strings.Repeat("\x00", 506) + "x"}))
	for _, c := range hostile.LayerCases() {
		for _, data := range c.Tars {
			if len(data) <= 16<<10 {
				f.Add(data)
			}
		}
	}
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Add([]byte("BZh91AY&SY"))
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "t")
		if len(data) > 0 && !strings.ContainsRune("\x1f\x28B\xfd", rune(data[0])) {
			data = hostile.Sums(data)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		tr, err := OpenTar(context.Background(), name, TarOptions{MaxBytes: 1 << 20, MaxEntries: 1000, TempDir: filepath.Dir(name)})
		if err != nil {
			return
		}
		defer tr.Close()
		if len(tr.Entries) > 1000 {
			t.Errorf("%d entries", len(tr.Entries))
		}
		checkTree(t, tr.Entries)
		want := dump(t, tr.Entries)
		// A layer is read the same way, except for what is refused only in
		// layers.
		o, err := OpenOverlay(t.Context(), memLayers(plainTar(t, data)), OverlayOptions{MaxBytes: 1 << 20, MaxEntries: 1000})
		if err != nil {
			if !strings.Contains(err.Error(), "overlay file systems obey") && !strings.Contains(err.Error(), "more than") {
				t.Errorf("as a layer: %v; to copy:\n%s", err, want)
			}
			return
		}
		defer o.Close()
		if got := dump(t, o.Entries); got != want {
			t.Errorf("as a layer:\n%sto copy:\n%s", got, want)
		}
	})
}
