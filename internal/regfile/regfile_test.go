package regfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenIn: symlinks are followed that stay in the root, wherever that is.
func TestOpenIn(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for name, text := range map[string]string{"root/real/file": "inside", "outside/file": "outside", "rootlike/file": "outside"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"root/relative": "real", "root/absolute": filepath.Join(root, "real"), "root/around": "../root/real", "root/link": "relative/file", "also": "root",
		"root/out": filepath.Join(dir, "outside"), "root/up": "../outside", "root/beside": "../rootlike", "root/file": "up/file", "root/gone": "nowhere", "root/loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	const leaves, gone, dirs = "out of ", "no such file", "it is a directory"
	for name, want := range map[string]string{
		"/real/file": "", "/relative/file": "", "/absolute/file": "", "/around/file": "", "/link": "", "/relative/../real/file": "",
		"/out/file": leaves, "/up/file": leaves, "/beside/file": leaves, "/file": leaves, "/../outside/file": leaves,
		"/gone": gone, "/none": gone, "/real": dirs, "/loop": "too many links",
	} {
		for _, root := range []string{root, root + "/", filepath.Join(dir, "also"), "root", "also"} {
			f, err := OpenIn(root, name)
			if want != "" {
				var named *fs.PathError
				if err == nil || !strings.Contains(err.Error(), want) || want != "too many links" && !errors.As(err, &named) {
					t.Errorf("%q in %q: error %v, want one with %q", name, root, err, want)
				}
				continue
			}
			if err != nil {
				t.Errorf("%q in %q: %v", name, root, err)
				continue
			}
			text, err := io.ReadAll(f)
			if f.Close(); err != nil || string(text) != "inside" {
				t.Errorf("%q in %q: %q and error %v", name, root, text, err)
			}
			resolved, err := Resolve(root, name)
			if err != nil || resolved != filepath.Join(root, "real/file") {
				t.Errorf("%q in %q is %q with error %v", name, root, resolved, err)
			}
		}
	}
	// The machine's own root is all that there is.
	for _, root := range []string{"", "/"} {
		f, err := OpenIn(root, filepath.Join(dir, "root/out/file"))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}
