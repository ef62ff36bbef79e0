package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// TestUnreadableSource: the error for something unreadable names what is read, whatever
// was to be written with it.
func TestUnreadableSource(t *testing.T) {
	testtools.NeedRoot(t)
	dir := sharedDir(t, false)
	put(t, filepath.Join(dir, "src/f"), "secret", 0o600)
	put(t, filepath.Join(dir, "one"), "hello", 0o644)
	mustRun(t, dir, "build", "--name", "one", "--copy", "one", "-q", "-o", "oci:layout:1")
	mustRun(t, dir, "build", "--name", "one", "--copy", "one", "-q", "-o", "closed.tar")
	must(t, os.Chmod(filepath.Join(dir, "closed.tar"), 0o600))
	blobs, err := filepath.Glob(filepath.Join(dir, "layout/blobs/sha256/*"))
	must(t, err)
	closed := 0
	for _, b := range blobs {
		data, err := os.ReadFile(b)
		must(t, err)
		if strings.HasPrefix(string(data), "\x1f\x8b") { // a layer
			must(t, os.Chmod(b, 0o600))
			closed++
		}
	}
	if closed != 1 {
		t.Fatalf("there are %d layers", closed)
	}
	source := `read "` + filepath.Join(dir, "src/f") + `": permission denied`
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"build", "--name", "x", "--copy", "src", "-o", "x.tar"}, source},
		{[]string{"build", "--name", "x", "--copy", "src", "-o", "x/"}, source},
		{[]string{"build", "--name", "x", "--copy", "src", "-o", "oci-archive:x"}, source},
		{[]string{"stream", "--name", "x", "--copy", "src"}, source},
		{[]string{"tree", "merge", "src", "-o", "x.tar"}, `read "src/f": permission denied`},
		{[]string{"tree", "merge", "src", "-o", "x/"}, `read "src/f": permission denied`},
		{[]string{"copy", "closed.tar", "x.tar"}, `read image "closed.tar": permission denied`},
		{[]string{"copy", "oci:layout:1", "x.tar"}, `read blob sha256:`},
		{[]string{"copy", "oci:layout:1", "oci:x"}, `read blob sha256:`},
	} {
		cmd := varve(t, dir, tt.args...)
		asNobody(cmd)
		o := run(t, cmd)
		if o.code != 1 || !strings.Contains(o.stderr, tt.want) || strings.Contains(o.stderr, "write image") || strings.Contains(o.stderr, "write tree") {
			t.Errorf("%q: exit code %d: %s; want %s", tt.args, o.code, o.stderr, tt.want)
		}
		if len(names(filepath.Join(dir, "x"))) > 0 {
			t.Errorf("%q wrote something", tt.args)
		}
	}
}
