package owner

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

func lstat(t *testing.T, name string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestKeeps: others can change names if they may write and no sticky bit prevents it, and if the
// directory is theirs.
func TestKeeps(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[fs.FileMode]bool{
		0o700: true, 0o755: true, 0o775: false, 0o777: false, 0o722: false, 0o777 | fs.ModeSticky: true, 0o775 | fs.ModeSticky: true,
	} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := Keeps(lstat(t, dir)); got != want {
			t.Errorf("mode %v: %v", mode, got)
		}
	}
}

func TestOthers(t *testing.T) {
	testtools.NeedRoot(t)
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/", link); err != nil {
		t.Fatal(err)
	}
	if info := lstat(t, link); !Ours(info) || !Trusted(info) || Of(info) != 0 {
		t.Error("our link is another's")
	}
	for _, name := range []string{link, dir} {
		if err := os.Lchown(name, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	if info := lstat(t, link); Ours(info) || Trusted(info) || Of(info) != 12345 {
		t.Error("another's link is ours")
	}
	if Keeps(lstat(t, dir)) {
		t.Error("another's directory keeps names")
	}
}

// TestLeftover: if others can change names, the mode decides.
func TestLeftover(t *testing.T) {
	around, dir := t.TempDir(), t.TempDir()
	for _, c := range []struct {
		around, dir fs.FileMode
		want        bool
	}{
		{0o755, 0o755, true}, {0o777, 0o755, false}, {0o777, 0o700, false}, {0o777, TempDir, true},
	} {
		if err := os.Chmod(around, c.around); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, c.dir); err != nil {
			t.Fatal(err)
		}
		if got := Leftover(lstat(t, dir), lstat(t, around)); got != c.want {
			t.Errorf("%v in %v: %v", c.dir, c.around, got)
		}
	}
}
