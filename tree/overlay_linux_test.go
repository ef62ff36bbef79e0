package tree

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/layertest"
	"github.com/varve-image/varve/internal/testtools"
)

// unpacked reads what a tool has unpacked, owners included.
func unpacked(t testing.TB, root string) []*Entry {
	t.Helper()
	var entries []*Entry
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		e := &Entry{Path: rel, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, ModTime: st.Mtim.Sec}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			e.Type, e.Size = Regular, st.Size
			e.Content = OpenFunc(func() (io.ReadCloser, error) { return os.Open(name) })
		case unix.S_IFDIR:
			e.Type = Dir
		case unix.S_IFLNK:
			e.Type = Symlink
			if e.Linkname, err = os.Readlink(name); err != nil {
				return err
			}
		case unix.S_IFIFO:
			e.Type = FIFO
		case unix.S_IFCHR, unix.S_IFBLK:
			e.Type = map[uint32]Type{unix.S_IFCHR: Char, unix.S_IFBLK: Block}[st.Mode&unix.S_IFMT]
			e.Devmajor, e.Devminor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		default:
			t.Errorf("%q has mode %o", rel, st.Mode)
		}
		if e.Type == Regular || e.Type == Dir {
			e.Xattrs = attributes(t, name)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	Sort(entries)
	return entries
}

func attributes(t testing.TB, name string) map[string]string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(name, buf)
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]string
	for attr := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if !KeepXattr(attr) {
			continue
		}
		value := make([]byte, 4096)
		n, err := unix.Lgetxattr(name, attr, value)
		if err != nil {
			t.Fatal(err)
		}
		if found == nil {
			found = map[string]string{}
		}
		found[attr] = string(value[:n])
	}
	return found
}

// full is dump with extended attributes and the times of regular files.
func full(t testing.TB, entries []*Entry) string {
	t.Helper()
	var b strings.Builder
	for _, e := range entries {
		c := *e
		c.Implied = false
		b.WriteString(dump(t, []*Entry{&c}))
		if e.Type == Regular {
			fmt.Fprintf(&b, "  @%d\n", e.ModTime)
		}
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			fmt.Fprintf(&b, "  %s=%q\n", name, e.Xattrs[name])
		}
	}
	return b.String()
}

// difficultLayers have all that layers may say of each other. The last of them
// has what Docker does not accept: an entry twice, hard links to lower layers.
// It lacks the parents of its entries, which Docker shows differently.
func difficultLayers(t testing.TB) [][]byte {
	t.Helper()
	layers, err := layertest.Difficult()
	if err != nil {
		t.Fatal(err)
	}
	return append(layers, makeTar(t, reg("twice", "1"), reg("twice", "2"), reg("etc/sub/more", "m"), wh("xdir/.wh.in"), wh("nowhere/.wh.none"), hard("pw2", "etc/passwd"), hard("suid3", "suid"), hard("suid4", "suid3")))
}

// TestOverlayUmoci compares with what umoci unpacks.
func TestOverlayUmoci(t *testing.T) {
	umoci := testtools.Need(t, "umoci")
	testtools.NeedRoot(t)
	layers := difficultLayers(t)
	temp := t.TempDir()
	layout, root := filepath.Join(temp, "layout"), filepath.Join(temp, "root")
	if err := layertest.Layout(layout, "x", layers...); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(umoci, "raw", "unpack", "--image", layout+":x", root).CombinedOutput(); err != nil {
		t.Fatalf("umoci: %v\n%s", err, out)
	}
	o, err := OpenOverlay(t.Context(), memLayers(layers...), OverlayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got, want := full(t, o.Entries), full(t, unpacked(t, root)); got != want {
		t.Errorf("got:\n%s\numoci:\n%s", got, want)
	}
}

// TestOverlayTars compares one layer without whiteouts with what GNU tar and
// bsdtar unpack.
func TestOverlayTars(t *testing.T) {
	layer := difficultLayers(t)[0]
	o, err := OpenOverlay(t.Context(), memLayers(layer), OverlayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for tool, args := range map[string][]string{
		"tar":    {"-xp", "--numeric-owner", "--xattrs", "--xattrs-include=*"},
		"bsdtar": {"-xp", "--numeric-owner", "--xattrs"},
	} {
		t.Run(tool, func(t *testing.T) {
			program := testtools.Need(t, tool)
			testtools.NeedRoot(t)
			if err := os.Chmod(t.TempDir(), 0o755); err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			unpack(t, program, args, root, layer)
			if got, want := full(t, o.Entries), full(t, unpacked(t, root)); got != want {
				t.Errorf("got:\n%s\n%s:\n%s", got, tool, want)
			}
		})
	}
}

func unpack(t testing.TB, program string, args []string, root string, data []byte) {
	t.Helper()
	cmd := exec.Command(program, append(args, "-C", root, "-f", "-")...)
	cmd.Stdin = bytes.NewReader(data)
	// Directories that are implied get 0755.
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}
