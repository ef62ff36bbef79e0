package nar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/varve-image/varve/tree"
)

// text writes words as an archive has strings. ~ stands for the empty string, and
// magic for the beginning of an archive.
func text(words string) []byte {
	var out []byte
	for word := range strings.FieldsSeq(words) {
		if word == "~" {
			word = ""
		}
		if word == "magic" {
			word = magic
		}
		out = binary.LittleEndian.AppendUint64(out, uint64(len(word)))
		out = append(out, word...)
		out = append(out, make([]byte, padding(uint64(len(word))))...)
	}
	return out
}

const (
	file  = "( type regular contents hello-world )"
	empty = "( type regular contents ~ )"
	run   = "( type regular executable ~ contents 12345678 )"
	link  = "( type symlink target ../x )"
	dir   = "( type directory )"
	// whole is a tree with a bit of everything.
	whole = "magic ( type directory entry ( name a node " + file + " ) entry ( name a- node " + link + " ) entry ( name b node " +
		"( type directory entry ( name Z node " + run + " ) entry ( name none node " + dir + " ) ) ) entry ( name c node " + empty + " ) )"
)

// list reads an archive and describes its content.
func list(r io.Reader) (string, error) {
	nar := NewReader(r)
	var lines []string
	for {
		h, err := nar.Next()
		if err == io.EOF {
			return strings.Join(lines, " "), nil
		}
		if err != nil {
			return "", err
		}
		line := h.Path
		switch h.Type {
		case Directory:
			line += "/"
		case Symlink:
			line += ">" + h.Target
		case Regular:
			content, err := io.ReadAll(nar)
			if err != nil {
				return "", err
			}
			if int64(len(content)) != h.Size {
				return "", errors.New("the size is wrong")
			}
			if h.Executable {
				line += "*"
			}
			line += "=" + string(content)
		}
		lines = append(lines, line)
	}
}

func TestReader(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"magic " + file, ".=hello-world"},
		{"magic " + empty, ".="},
		{"magic " + run, ".*=12345678"},
		{"magic " + link, ".>../x"},
		{"magic " + dir, "./"},
		{whole, "./ a=hello-world a->../x b/ b/Z*=12345678 b/none/ c="},
	} {
		for name, r := range map[string]io.Reader{
			"seeking": bytes.NewReader(text(tt.in)),
			"stream":  iotest.OneByteReader(bytes.NewReader(text(tt.in))),
		} {
			if got, err := list(r); err != nil || got != tt.want {
				t.Errorf("%s: %s, %v; want %s", name, got, err, tt.want)
			}
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	entry := func(name, node string) string { return "entry ( name " + name + " node " + node + " )" }
	deep := strings.Repeat("( type directory entry ( name d node ", MaxDepth+1)
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "not a Nix archive: unexpected EOF"},
		{"other magic", "nix-archive-2 " + file, `not a Nix archive: got "nix-archive-2"`},
		{"no node", "magic", "unexpected EOF"},
		{"two nodes", "magic " + file + " " + file, "bytes after the end"},
		{"unknown type", "magic ( type fifo )", `"." is of type "fifo"`},
		{"type late", "magic ( contents x type regular )", `got "contents", want "type"`},
		{"no contents", "magic ( type regular )", `got ")", want executable or contents`},
		{"executable last", "magic ( type regular contents x executable ~ )", `got "executable", want ")"`},
		{"executable with text", "magic ( type regular executable x contents y )", `got "x", want ""`},
		{"no target", "magic ( type symlink )", `got ")", want "target"`},
		{"empty target", "magic ( type symlink target ~ )", `cannot have the text ""`},
		{"long target", "magic ( type symlink target " + strings.Repeat("x", 4096) + " )", "a string of 4096 bytes, where at most 4095"},
		{"NUL in target", "magic ( type symlink target a\x00b )", `"a\x00b"`},
		{"order", "magic ( type directory " + entry("b", file) + " " + entry("a", file) + " )", `entry "a" after "b"`},
		{"twice", "magic ( type directory " + entry("a", file) + " " + entry("a", file) + " )", `entry "a" after "a"`},
		{"..", "magic ( type directory " + entry("..", file) + " )", `called ".."`},
		{".", "magic ( type directory " + entry(".", file) + " )", `called "."`},
		{"slash", "magic ( type directory " + entry("a/../../b", file) + " )", `called "a/../../b"`},
		{"empty name", "magic ( type directory " + entry("~", file) + " )", `called ""`},
		{"NUL", "magic ( type directory " + entry("a\x00", file) + " )", `called "a\x00"`},
		{"long name", "magic ( type directory " + entry(strings.Repeat("x", 256), file) + " )", "a string of 256 bytes, where at most 255"},
		{"entry not closed", "magic ( type directory entry ( name a node " + link + " entry", `got "entry", want ")"`},
		{"directory not closed", "magic ( type directory " + entry("a", link), "unexpected EOF"},
		{"node first", "magic ( type directory entry ( node " + file + " name a ) )", `got "node", want "name"`},
		{"something else in a directory", "magic ( type directory x )", `got "x", want entry or )`},
		{"deep", "magic " + deep, "nested deeper than 1000"},
		{"long path", "magic " + strings.Repeat("( type directory entry ( name "+strings.Repeat("d", 255)+" node ", 17), "a path of 4351 bytes, where at most 4095"},
		{"escapes", "magic ( type \x1b[2J )", `"\x1b[2J"`},
	} {
		if _, err := list(bytes.NewReader(text(tt.in))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// Bytes that no string of words makes.
func TestReaderRefusesBytes(t *testing.T) {
	good := text("magic " + file)
	for i := range good {
		if _, err := list(bytes.NewReader(good[:i])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at byte %d: %v", i, err)
		}
		if _, err := list(iotest.OneByteReader(bytes.NewReader(good[:i]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a stream cut at byte %d: %v", i, err)
		}
	}
	nar := NewReader(bytes.NewReader(good[:len(good)-20]))
	if _, err := nar.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := nar.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("skipped content that is cut: %v", err)
	}
	for _, at := range []int{22, len(good) - 17, len(good) - 1} {
		bad := bytes.Clone(good)
		bad[at] = 1
		if _, err := list(bytes.NewReader(bad)); err == nil || !strings.Contains(err.Error(), "padding") {
			t.Errorf("padding at byte %d: %v", at, err)
		}
	}
	huge := append(text("magic ( type regular contents"), "\xff\xff\xff\xff\xff\xff\xff\x7f"...)
	if _, err := list(bytes.NewReader(huge)); err == nil || !strings.Contains(err.Error(), "more than any file") {
		t.Errorf("huge file: %v", err)
	}
	long := append(text("magic ( type"), "\xff\xff\xff\xff\xff\xff\xff\xff"...)
	if _, err := list(bytes.NewReader(long)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("huge string: %v", err)
	}
	lost := errors.New("lost")
	if _, err := list(io.MultiReader(bytes.NewReader(good[:50]), iotest.ErrReader(lost))); !errors.Is(err, lost) {
		t.Errorf("a reader that fails: %v", err)
	}
}

// rewrite writes what it reads.
func rewrite(r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	nar, w := NewReader(r), NewWriter(&out)
	w.Begin()
	var in []string // the directories that are open
	leave := func(path string) {
		for len(in) > 0 && in[len(in)-1] != "." && !strings.HasPrefix(path, in[len(in)-1]+"/") || len(in) > 0 && path == "" {
			w.EndDirectory()
			if len(in) > 1 {
				w.EndEntry()
			}
			in = in[:len(in)-1]
		}
	}
	for {
		h, err := nar.Next()
		if err == io.EOF {
			leave("")
			return out.Bytes(), w.Err()
		}
		if err != nil {
			return nil, err
		}
		if h.Path != "." {
			leave(h.Path)
			w.Entry(h.Path[strings.LastIndexByte(h.Path, '/')+1:])
		}
		switch h.Type {
		case Directory:
			w.Directory()
			in = append(in, h.Path)
			continue
		case Symlink:
			w.Symlink(h.Target)
		case Regular:
			w.Regular(uint64(h.Size), h.Executable)
			if _, err := io.Copy(w, nar); err != nil {
				return nil, err
			}
			w.EndRegular(uint64(h.Size))
		}
		if h.Path != "." {
			w.EndEntry()
		}
	}
}

func TestWriter(t *testing.T) {
	for _, in := range []string{"magic " + file, "magic " + run, "magic " + link, "magic " + dir, whole} {
		got, err := rewrite(bytes.NewReader(text(in)))
		if err != nil || !bytes.Equal(got, text(in)) {
			t.Errorf("%s comes back as %q, %v", in, got, err)
		}
	}
	full := errors.New("full")
	w := NewWriter(failing{full})
	w.Begin()
	w.Symlink("x")
	if !errors.Is(w.Err(), full) || w.Size() != 0 {
		t.Errorf("a writer that fails: %v, %d bytes", w.Err(), w.Size())
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

func FuzzReader(f *testing.F) {
	f.Add(text(whole))
	f.Add(text("magic " + run))
	f.Add(text("magic ( type directory entry ( name b node " + link + " ) entry ( name a node " + dir + " ) )"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if out, err := rewrite(bytes.NewReader(in)); err == nil && !bytes.Equal(in, out) {
			t.Errorf("%q is not the only archive of its tree: %q", in, out)
		}
	})
}

func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.nar")
	if err := os.WriteFile(name, text(whole), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	modes := map[string]uint32{".": 0o755, "a": 0o644, "a-": 0o777, "b": 0o755, "b/Z": 0o755, "b/none": 0o755, "c": 0o644}
	for _, e := range a.Entries {
		if e.Mode != modes[e.Path] || e.UID != 0 || e.ModTime != 1 {
			t.Errorf("%s: %+v", e.Path, e)
		}
		delete(modes, e.Path)
		if e.Path != "b/Z" {
			continue
		}
		for range 2 {
			r, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			if content, err := io.ReadAll(r); string(content) != "12345678" || err != nil {
				t.Errorf("content %q, %v", content, err)
			}
		}
		if err := os.Truncate(name, 5); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Open(); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("open after a change: %v", err)
		}
	}
	if len(modes) > 0 {
		t.Errorf("missing: %v", modes)
	}
	if entries := a.Entries; entries[1].Type != tree.Regular || entries[2].Linkname != "../x" {
		t.Errorf("entries %+v", entries)
	}
}

// A small archive does not become gigabytes of paths.
func TestOpenLimitsPaths(t *testing.T) {
	const depth, most = 15, 2 << 20
	in := text("magic " + strings.Repeat("( type directory entry ( name "+strings.Repeat("d", 255)+" node ", depth) + "( type directory")
	for i := range most/(depth*256) + 1 {
		in = append(in, text(fmt.Sprintf("entry ( name %06d node %s )", i, link))...)
	}
	in = append(in, text(")"+strings.Repeat(" ) )", depth))...)
	name := filepath.Join(t.TempDir(), "x.nar")
	if err := os.WriteFile(name, in, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := f.index(t.Context(), most); err == nil || !strings.Contains(err.Error(), "paths and links of more than 2 MiB") {
		t.Errorf("%v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	bad, whiteout := filepath.Join(dir, "bad.nar"), filepath.Join(dir, "whiteout.nar")
	for name, content := range map[string]string{bad: "magic ( type x )", whiteout: "magic ( type directory entry ( name .wh.x node " + file + " ) )"} {
		if err := os.WriteFile(name, text(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		bad:           `bad.nar": read NAR at byte`,
		whiteout:      "called like a whiteout",
		dir:           `it is a directory`,
		dir + "/none": `none": no such file`,
	} {
		if _, err := Open(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
