package treefile

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/tree"
)

// TestRoundTrip: what is written as a directory or a tar, compressed or not, is read as the
// same tree.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	entries := []*tree.Entry{tree.NewDir(".", 0o755), tree.NewDir("etc", 0o755), tree.NewFile("etc/hello", 0o644, "hello\n")}
	for name, c := range map[string]compress.Algorithm{"a.tar": compress.None, "b.tar.gz": compress.Gzip, "c/": compress.None} {
		out := &Output{Path: dir + "/" + name, Compression: compress.Compression{Algorithm: c}}
		if omitted, err := out.Write(t.Context(), entries, tree.WriteOptions{}); err != nil || len(omitted) > 0 {
			t.Fatalf("%s: %v, %v", name, omitted, err)
		}
		got, closer, err := Read(t.Context(), out.Path, tree.TarOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer closer.Close()
		e := tree.Find(got, "etc/hello")
		if len(got) != len(entries) || e == nil {
			t.Fatalf("%s: %d entries", name, len(got))
		}
		f, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if f.Close(); err != nil || string(text) != "hello\n" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// TestStdout: the names of a tar that goes to standard output begin with "./".
func TestStdout(t *testing.T) {
	var b bytes.Buffer
	out := &Output{Path: "-", Stdout: &b, Compression: compress.Compression{Algorithm: compress.None}}
	if _, err := out.Write(t.Context(), []*tree.Entry{tree.NewDir(".", 0o755), tree.NewDir("etc", 0o755)}, tree.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&b)
	for _, want := range []string{"./", "./etc/"} {
		if h, err := r.Next(); err != nil || h.Name != want {
			t.Errorf("%v, %v, want %s", h, err, want)
		}
	}
}

// TestSourceError: an unsuitable source is distinguished from an unreadable one.
func TestSourceError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{file, file + "/x", file + "none"} {
		var wrong *SourceError
		if _, _, err := Read(t.Context(), source, tree.TarOptions{}); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", source, err)
		}
	}
}
