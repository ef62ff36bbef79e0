package tree

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dump prints entries one a line: path, type, mode, owner, what it is.
func dump(t testing.TB, entries []*Entry) string {
	t.Helper()
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %c %04o %d:%d", e.Path, e.Type, e.Mode, e.UID, e.GID)
		if e.Implied {
			b.WriteString(" implied")
		}
		switch e.Type {
		case Symlink:
			b.WriteString(" -> " + e.Linkname)
		case Regular:
			fmt.Fprintf(&b, " %q", content(t, e))
		case Char, Block:
			fmt.Fprintf(&b, " %d,%d", e.Devmajor, e.Devminor)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func content(t testing.TB, e *Entry) string {
	t.Helper()
	r, err := e.Open()
	if err != nil {
		t.Fatalf("open %q: %v", e.Path, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %q: %v", e.Path, err)
	}
	if int64(len(b)) != e.Size {
		t.Fatalf("%q has %d bytes and says %d", e.Path, len(b), e.Size)
	}
	return string(b)
}

func wantDump(t testing.TB, entries []*Entry, want string) {
	t.Helper()
	want = strings.TrimPrefix(want, "\n")
	if got := dump(t, entries); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// wantError checks that err has all of the parts in its text; without parts,
// that there is none. It reports whether there is an error.
func wantError(t testing.TB, err error, parts ...string) bool {
	t.Helper()
	if len(parts) == 0 && err != nil {
		t.Fatalf("error: %v", err)
	}
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("error %v, want %q in it", err, p)
		}
	}
	return err != nil
}

// testFile returns a regular file in memory.
func testFile(name, text string) *Entry {
	return &Entry{Path: name, Type: Regular, Mode: 0o644, Size: int64(len(text)), Source: "test:" + name,
		Content: OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })}
}

func testDir(name string) *Entry {
	return &Entry{Path: name, Type: Dir, Mode: 0o755, Source: "test:" + name}
}

func testLink(name, target string) *Entry {
	return &Entry{Path: name, Type: Symlink, Mode: 0o777, Linkname: target, Source: "test:" + name}
}

// testTree makes a canonical tree from lines: "d/" is a directory, "l -> t" a
// symlink, "f" or "f=text" a file. Sources are named name:path.
func testTree(t testing.TB, name string, lines ...string) []*Entry {
	t.Helper()
	var entries []*Entry
	for _, line := range lines {
		var e *Entry
		if link, target, ok := strings.Cut(line, " -> "); ok {
			e = testLink(link, target)
		} else if dir, ok := strings.CutSuffix(line, "/"); ok {
			e = testDir(dir)
		} else {
			file, text, _ := strings.Cut(line, "=")
			e = testFile(file, text)
		}
		e.Source = name + ":" + e.Path
		entries = append(entries, e)
	}
	Sort(entries)
	all, err := complete(entries)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// short prints a tree in the form that testTree reads.
func short(t testing.TB, entries []*Entry) string {
	t.Helper()
	var lines []string
	for _, e := range entries {
		switch {
		case e.Path == ".":
		case e.Type == Dir:
			lines = append(lines, e.Path+"/")
		case e.Type == Symlink:
			lines = append(lines, e.Path+" -> "+e.Linkname)
		default:
			line := e.Path
			if text := content(t, e); text != "" {
				line += "=" + text
			}
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// writeTree makes a directory on disk out of the lines of testTree, in order.
func writeTree(t testing.TB, dir string, lines ...string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.MkdirAll(dir, 0o755))
	for _, line := range lines {
		if link, target, ok := strings.Cut(line, " -> "); ok {
			check(os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755))
			check(os.Symlink(target, filepath.Join(dir, link)))
		} else if name, ok := strings.CutSuffix(line, "/"); ok {
			check(os.MkdirAll(filepath.Join(dir, name), 0o755))
		} else {
			file, text, _ := strings.Cut(line, "=")
			check(os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755))
			check(os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644))
		}
	}
}

// makeTar returns a whole tarball of headers.
func makeTar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		text := ""
		if h.Typeflag == tar.TypeReg || h.Typeflag == 0 {
			// The content is in Uname, which entries do not keep.
			text, h.Uname = h.Uname, ""
			h.Size = int64(len(text))
		}
		if h.ModTime.IsZero() && h.Typeflag != tar.TypeXGlobalHeader {
			h.ModTime = time.Unix(1, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%q: %v", h.Name, err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func saveTar(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "source.tar")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func reg(name, text string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Uname: text}
}

func dir(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }

func sym(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}
}

func hard(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o600}
}

// rawHeader returns a ustar header with the given fields, and content padded to
// blocks.
func rawHeader(kind byte, name string, size int, linkname, content string) []byte {
	b := make([]byte, tarBlock)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x0000000000001\x00", size))
	b[156] = kind
	copy(b[157:], linkname)
	copy(b[257:], "ustar\x0000")
	rawSum(b)
	b = append(b, content...)
	return append(b, make([]byte, roundUp(int64(len(content)))-int64(len(content)))...)
}

func rawSum(b []byte) {
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:tarBlock] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// rawPAX returns an extended header of type kind.
func rawPAX(kind byte, records ...string) []byte {
	var text strings.Builder
	for _, r := range records {
		n := len(r) + 3
		for n != len(fmt.Sprintf("%d %s\n", n, r)) {
			n++
		}
		fmt.Fprintf(&text, "%d %s\n", n, r)
	}
	return rawHeader(kind, "././@PaxHeader", text.Len(), "", text.String())
}

// names prints names, types and contents.
func names(t testing.TB, entries []*Entry) string {
	var plain []*Entry
	for _, e := range entries {
		plain = append(plain, &Entry{Path: e.Path, Type: e.Type, Linkname: e.Linkname, Size: e.Size, Content: e.Content})
	}
	return dump(t, plain)
}
