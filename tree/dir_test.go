package tree

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listing describes a tree, a line for each entry.
func listing(t *testing.T, seq Seq) string {
	t.Helper()
	var b strings.Builder
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s %04o %d:%d %q", e.Path, e.Type, e.Mode, e.UID, e.GID, e.Linkname)
		if e.Type == Regular {
			f, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(f)
			f.Close()
			if err != nil || int64(len(data)) != e.Size {
				t.Fatalf("%s: %d bytes of %d, %v", e.Path, len(data), e.Size, err)
			}
			fmt.Fprintf(&b, " %s", data)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		os.Chmod(file, 0o644)
		for d := filepath.Dir(file); len(d) >= len(dir); d = filepath.Dir(d) {
			os.Chmod(d, 0o755)
		}
	}
}

func TestFromDir(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"b/x": "1", "a-b": "2", "a/b": "3", "B": "4"})
	if err := os.Symlink("../nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(filepath.Join(dir, "B"), 0o4711); err != nil {
		t.Fatal(err)
	}
	want := `. directory 0755 0:0 ""
B regular file 4711 0:0 "" 4
a directory 0755 0:0 ""
a/b regular file 0644 0:0 "" 3
a-b regular file 0644 0:0 "" 2
b directory 0755 0:0 ""
b/x regular file 0644 0:0 "" 1
link symlink 0777 0:0 "../nowhere"
`
	if got := listing(t, FromDir(dir, DirOptions{})); got != want {
		t.Errorf("tree is\n%swant\n%s", got, want)
	}
	if got := listing(t, FromDir(filepath.Join(dir, "B"), DirOptions{})); got != ". regular file 4711 0:0 \"\" 4\n" {
		t.Errorf("a file alone is %s", got)
	}
	if got := listing(t, FromDir(filepath.Join(dir, "link"), DirOptions{})); got != ". symlink 0777 0:0 \"../nowhere\"\n" {
		t.Errorf("a symlink alone is %s", got)
	}
}

func TestFromDirRefuses(t *testing.T) {
	for name, make := range map[string]func(string) error{
		"a FIFO":       func(p string) error { return unix.Mkfifo(p, 0o644) },
		"a socket":     func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) },
		"/.wh.deleted": func(p string) error { return os.WriteFile(filepath.Dir(p)+"/.wh.deleted", nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := make(filepath.Join(dir, "odd")); err != nil {
				t.Fatal(err)
			}
			_, err := Collect(FromDir(dir, DirOptions{}))
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if _, err := Collect(FromDir(filepath.Join(t.TempDir(), "missing"), DirOptions{})); err == nil {
		t.Error("a missing directory is read")
	}
}

// TestOpenNotices: opening returns the content of the file that was looked at,
// or an error that names it.
func TestOpenNotices(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"grows":   func(f string) error { return os.WriteFile(f, []byte("longer than before"), 0o644) },
		"shrinks": func(f string) error { return os.Truncate(f, 1) },
		"is touched": func(f string) error {
			return os.Chtimes(f, time.Time{}, time.Unix(1_000_000_000, 0))
		},
		"vanishes":   os.Remove,
		"is a FIFO":  func(f string) error { os.Remove(f); return unix.Mkfifo(f, 0o644) },
		"is a link":  func(f string) error { os.Remove(f); return os.Symlink("/etc/passwd", f) },
		"dir a link": func(f string) error { d := filepath.Dir(f); os.Rename(d, d+"2"); return os.Symlink(d+"2", d) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"d/file": "content"})
			entries, err := Collect(FromDir(dir, DirOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			if err := change(filepath.Join(dir, "d/file")); err != nil {
				t.Fatal(err)
			}
			f, err := entries[2].Open()
			if err == nil {
				_, err = io.ReadAll(f)
				f.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "d/file") {
				t.Errorf("a file that %s: %v", name, err)
			}
		})
	}
}

func TestXattrs(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"f": "x"})
	for name, value := range map[string]string{"user.note": strings.Repeat("long", 200), "user.overlay.opaque": "y"} {
		if err := unix.Setxattr(filepath.Join(dir, "f"), name, []byte(value), 0); err != nil {
			t.Skipf("this file system has no user attributes: %v", err)
		}
	}
	entries, err := Collect(FromDir(dir, DirOptions{Xattrs: true}))
	if err != nil {
		t.Fatal(err)
	}
	if got := entries[1].Xattrs; len(got) != 1 || got["user.note"] != strings.Repeat("long", 200) {
		t.Errorf("attributes are %q", got)
	}
	if entries, _ = Collect(FromDir(dir, DirOptions{})); entries[1].Xattrs != nil {
		t.Errorf("attributes nobody asked for: %q", entries[1].Xattrs)
	}
}

func TestCompareCodePoints(t *testing.T) {
	// In the order that Python's sorted gives these names as os.listdir decodes
	// them.
	names := []string{"", "a", "a\x7f", "aé", "é", "日", "\x80", "\xff", "\xff\xfe", "\uffee", "😀"}
	for i, a := range names {
		for j, b := range names {
			got := CompareCodePoints(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("CompareCodePoints(%q, %q) = %d", a, b, got)
			}
		}
	}
}
