package layer_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// nastyTree makes a tree whose names, links, modes and sizes are at the limits
// of tar's fields.
func nastyTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// "./" counts in a name's length, and the "/" of a directory.
	for _, n := range []int{96, 97, 98, 99, 100, 101, 255} {
		must(os.WriteFile(filepath.Join(root, strings.Repeat("f", n)), []byte("x"), 0o644))
		must(os.Mkdir(filepath.Join(root, strings.Repeat("e", n)), 0o755))
		must(os.Symlink("target", filepath.Join(root, strings.Repeat("l", n))))
	}
	for _, n := range []int{99, 100, 101, 255, 256, 257, 300, 4000} {
		must(os.Symlink(strings.Repeat("t", n), filepath.Join(root, fmt.Sprintf("to-%d", n))))
	}
	must(os.Symlink(strings.Repeat("t", 200), filepath.Join(root, strings.Repeat("b", 200))))
	for _, n := range []int{155, 156, 255, 256, 257, 258, 600, 2000} {
		dir := filepath.Join(root, fmt.Sprintf("p%d", n))
		for n > 200 {
			dir, n = filepath.Join(dir, strings.Repeat("d", 99)), n-100
		}
		must(os.MkdirAll(dir, 0o755))
		must(os.WriteFile(filepath.Join(dir, strings.Repeat("q", n-8)), []byte("deep"), 0o600))
	}
	for _, name := range []string{"a\xff\xfe", "é", "日本語", "😀", "new\nline", "back\\slash", " ", "-n", "*", "a", "a.b", "a-b", "a/b", "A", "~"} {
		path := filepath.Join(root, "odd", name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		if name != "a" { // a directory: it holds a/b
			must(os.WriteFile(path, []byte(name), 0o644))
		}
	}
	for _, mode := range []uint32{0o400, 0o755, 0o4755, 0o2755, 0o6755, 0o1777, 0o7777} {
		path := filepath.Join(root, fmt.Sprintf("mode-%o", mode))
		must(os.WriteFile(path, nil, 0o600))
		must(chmod(path, mode))
		must(os.Mkdir(path+".dir", 0o700))
		must(chmod(path+".dir", mode|0o700))
	}
	for _, size := range []int{0, 1, 511, 512, 513, 10239, 10240, 10241, 1<<20 - 512, 1 << 20, 3<<20 + 7} {
		must(os.WriteFile(filepath.Join(root, fmt.Sprintf("size-%d", size)), noise(size), 0o644))
	}
	must(os.Link(filepath.Join(root, "size-513"), filepath.Join(root, "size-513-again")))
	sparse := filepath.Join(root, "sparse")
	must(os.WriteFile(sparse, []byte("start"), 0o644))
	must(os.Truncate(sparse, 2<<20))
	return root
}

func chmod(path string, mode uint32) error {
	m := os.FileMode(mode & 0o777)
	for bit, special := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if mode&bit != 0 {
			m |= special
		}
	}
	return os.Chmod(path, m)
}

// gnuTar returns GNU tar with the options that nixpkgs makes layers with.
func gnuTar(t *testing.T, dir string, owner uint32, mtime int64) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(testtools.Need(t, "tar"), "-C", dir, "--sort=name", "--format=gnu", "--hard-dereference",
		"--numeric-owner", fmt.Sprintf("--owner=:%d", owner), fmt.Sprintf("--group=:%d", owner),
		fmt.Sprintf("--mtime=@%d", mtime), "-cf", "-", ".")
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	return cmd
}

// owned gives the tree below dir with one owner and time.
func owned(dir string, owner uint32, mtime int64) func() tree.Seq {
	return func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			for e, err := range tree.FromDir(dir, tree.DirOptions{}) {
				if err == nil {
					e.UID, e.GID, e.ModTime = owner, owner, mtime
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// owners and times at the limits of octal fields.
var owners = []struct {
	id    uint32
	mtime int64
}{{0, 1}, {1<<21 - 1, 1<<33 - 1}, {1 << 21, 1 << 33}, {tree.MaxID, 1 << 40}}

func TestGNULayerIsGNUTars(t *testing.T) {
	dir := nastyTree(t)
	for _, o := range owners {
		var stderr bytes.Buffer
		cmd := gnuTar(t, dir, o.id, o.mtime)
		cmd.Stderr = &stderr
		want, err := cmd.Output()
		if err != nil {
			t.Fatalf("tar: %v\n%s", err, stderr.String())
		}
		l := layer.New(owned(dir, o.id, o.mtime), layer.Options{Dialect: layer.GNU, Prefix: "./"})
		got := writeLayer(t, l)
		wantSize(t, l, len(got))
		wantEqualTars(t, got, want)
	}
}

// wantEqualTars compares two tars block by block.
func wantEqualTars(t *testing.T, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := 0; i < min(len(got), len(want)); i += 512 {
		g, w := got[i:min(i+512, len(got))], want[i:min(i+512, len(want))]
		if !bytes.Equal(g, w) {
			t.Fatalf("block at %d:\n got %q\nwant %q", i, g, w)
		}
	}
	t.Fatalf("got %d bytes, want %d", len(got), len(want))
}

// TestGNUHeaderOfLargeFiles compares the headers only: GNU tar is ended once
// it has come to the content.
func TestGNUHeaderOfLargeFiles(t *testing.T) {
	for _, size := range []int64{1<<33 - 1, 1 << 33, 1<<33 + 1, 1 << 40} {
		dir := t.TempDir()
		path := filepath.Join(dir, "large")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Skipf("the file system holds no file of %d bytes: %v", size, err)
		}
		var got []byte
		for e, err := range owned(dir, 0, 1)() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, headers(t, layer.GNU, "./", e)[0]...)
		}
		want := make([]byte, len(got))
		cmd := gnuTar(t, dir, 0, 1)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadFull(out, want)
		out.Close()
		_ = cmd.Wait() // it complains of the broken pipe
		if err != nil {
			t.Fatal(err)
		}
		wantEqualTars(t, got, want)
	}
}
