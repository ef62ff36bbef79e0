package assemble

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/nixstore/nixdb"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/spec"
)

// The store paths of these tests, none of which is part of another's hash.
const (
	appPath  = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app-1.0"
	bashPath = "/nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-bash-5"
	libcPath = "/nix/store/cccccccccccccccccccccccccccccccc-libc-2"
)

// makeFiles makes files in a new directory, whatever the umask: a name that
// ends in a slash is a directory, a text that starts with "-> " a symlink.
func makeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := makeFile(dir, name, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func makeFile(dir, name, text string) error {
	rel := strings.TrimPrefix(filepath.Clean("/"+name), "/")
	for i, c := range rel + "/" {
		if c != '/' || rel[:i] == rel && !strings.HasSuffix(name, "/") {
			continue
		}
		p := filepath.Join(dir, rel[:i])
		if err := os.Mkdir(p, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := os.Chmod(p, 0o755); err != nil {
			return err
		}
	}
	p := filepath.Join(dir, rel)
	if strings.HasSuffix(name, "/") {
		return nil
	}
	if target, ok := strings.CutPrefix(text, "-> "); ok {
		return os.Symlink(target, p)
	}
	return errors.Join(os.WriteFile(p, []byte(text), 0o644), os.Chmod(p, 0o644))
}

// tryBuild builds the image of a spec in dir, whose store is below dir/root.
func tryBuild(t *testing.T, dir, text string, opts Options) (*Result, error) {
	t.Helper()
	s, err := spec.Parse(strings.NewReader(text), spec.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	opts.Root, opts.Architecture, opts.TempDir = filepath.Join(dir, "root"), "amd64", t.TempDir()
	opts.Databases = nixdb.SQLite{}
	opts.OpenBase = func(ctx context.Context, ref spec.Base) (*image.Stored, error) {
		a, err := dockerarchive.Open(ctx, ref.Reference, t.TempDir())
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { a.Close() })
		return a.Open(ctx, 0)
	}
	r, err := Build(t.Context(), s, opts)
	if err == nil {
		t.Cleanup(func() { r.Close() })
	}
	return r, err
}

// mustBuild is tryBuild for a spec that has to be correct.
func mustBuild(t *testing.T, dir, text string) *Result {
	t.Helper()
	r, err := tryBuild(t, dir, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// makeBase builds a spec into the archive dir/base.tar.
func makeBase(t *testing.T, dir, text string) {
	t.Helper()
	var b bytes.Buffer
	if err := dockerarchive.Write(t.Context(), &b, mustBuild(t, dir, text).Image, dockerarchive.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "base.tar"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantSpecError checks that an error blames a field, and contains all of wants.
func wantSpecError(t *testing.T, err error, field string, wants ...string) {
	t.Helper()
	var bad *SpecError
	if !errors.As(err, &bad) || bad.Field != field {
		t.Fatalf("the error is %v, want one that blames %s", err, field)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %q, want %q in it", err, want)
		}
	}
}

// listing returns a line for each entry of a layer: type, mode, owner, name,
// target, and user's extended attributes. Files have their text.
func listing(t *testing.T, l image.Layer) string {
	t.Helper()
	var data bytes.Buffer
	if err := l.Write(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for r := tar.NewReader(&data); ; {
		h, err := r.Next()
		if err == io.EOF {
			return strings.Join(lines, "\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, describe(h, string(text)))
	}
}

func describe(h *tar.Header, text string) string {
	line := fmt.Sprintf("%04o %d:%d %s", h.Mode, h.Uid, h.Gid, h.Name)
	switch h.Typeflag {
	case tar.TypeDir:
	case tar.TypeReg:
		line += fmt.Sprintf(" = %q", text)
	case tar.TypeSymlink:
		line += " -> " + h.Linkname
	case tar.TypeLink:
		line += fmt.Sprintf(" type %q %s", h.Typeflag, h.Linkname)
	default:
		line += fmt.Sprintf(" type %q", h.Typeflag)
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			line += fmt.Sprintf(" %s=%q", name, h.PAXRecords[key])
		}
	}
	return line
}

// wantLayer checks the listing of a layer, counted from 0, or from the top if n is
// negative.
func wantLayer(t *testing.T, r *Result, n int, want ...string) {
	t.Helper()
	if n < 0 {
		n += len(r.Image.Layers())
	}
	if got, want := listing(t, r.Image.Layers()[n]), strings.Join(want, "\n"); got != want {
		t.Errorf("layer %d is\n%s\nwant\n%s", n, got, want)
	}
}

// wantPlan checks kinds and store paths of all layers.
func wantPlan(t *testing.T, r *Result, want ...string) {
	t.Helper()
	var got []string
	for _, l := range r.Layers {
		got = append(got, strings.Join(append([]string{l.Kind}, l.Paths...), " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the layers are %q, want %q", got, want)
	}
	if len(r.Image.Layers()) != len(r.Layers) {
		t.Errorf("%d layers are planned, the image has %d", len(r.Layers), len(r.Image.Layers()))
	}
}
