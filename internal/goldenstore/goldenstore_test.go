package goldenstore

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// listingDigest is the SHA-256 of the listing of the reference store.
const listingDigest = "3b8e4fa7f20855434e5e7736934dddc640b3307cca8b6bf3e9abf9ecab6edb6a"

// topTarDigest is the SHA-256 of the tar that GNU tar made of the same tree.
const topTarDigest = "f8219198f386cb8af93fd16551843166cb690ebfb11fdf04afe8ff7a29dda34c"

func TestMake(t *testing.T) {
	for _, umask := range []int{0o000, 0o022, 0o077} {
		t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "root")
			old := syscall.Umask(umask)
			paths, err := Make(root)
			syscall.Umask(old)
			if err != nil {
				t.Fatal(err)
			}
			if len(paths) != 10 || paths[0] != Path("libc-2.39") {
				t.Errorf("store paths: %q", paths)
			}
			list := listing(t, root)
			if got := fmt.Sprintf("%x", sha256.Sum256([]byte(list))); got != listingDigest {
				t.Errorf("digest of the listing is %s, want %s:\n%s", got, listingDigest, list)
			}
		})
	}
}

// listing returns a line for each file: path, mode, time, size and digest or link target.
func listing(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%q %v %d", rel, info.Mode(), info.ModTime().UnixNano())
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x", len(data), sha256.Sum256(data))
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %q", target)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTopTar(t *testing.T) {
	tar := topTar(Path("app-1.0") + "/bin/app")
	if got := fmt.Sprintf("%x", sha256.Sum256(tar)); got != topTarDigest {
		t.Errorf("digest of the top layer's tar is %s, want %s", got, topTarDigest)
	}
}

// TestHardLinks: the listing does not show which files share an inode.
func TestHardLinks(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if _, err := Make(root); err != nil {
		t.Fatal(err)
	}
	one, err := os.Stat(root + Path("hardlinks") + "/one")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{Path("hardlinks") + "/two", Path("hardlinks-too") + "/three"} {
		other, err := os.Stat(root + name)
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(one, other) {
			t.Errorf("%s is not the same file as one", name)
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(file); err == nil {
		t.Error("Make over a file succeeded")
	}
}
