package layer_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// linkedTree is a nasty tree in which files have several names, some of them long.
func linkedTree(t *testing.T) string {
	t.Helper()
	dir := nastyTree(t)
	for i, n := range []int{97, 98, 99, 100, 101, 255} {
		first := filepath.Join(dir, "links", strings.Repeat("a", n))
		for _, name := range []string{first, filepath.Join(dir, "links", strings.Repeat("b", n)), filepath.Join(dir, "links-", fmt.Sprint(i)), filepath.Join(dir, "A", fmt.Sprint(i))} {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if name == first {
				if err := os.WriteFile(name, noise(600*n), 0o4711); err != nil {
					t.Fatal(err)
				}
			} else if err := os.Link(first, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// TestLinksAreGNUTars: hard links are what GNU tar writes without --hard-dereference.
func TestLinksAreGNUTars(t *testing.T) {
	dir := linkedTree(t)
	for _, o := range owners {
		cmd := gnuTar(t, dir, o.id, o.mtime)
		cmd.Args = slices.DeleteFunc(cmd.Args, func(arg string) bool { return arg == "--hard-dereference" })
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		want, err := cmd.Output()
		if err != nil {
			t.Fatalf("tar: %v\n%s", err, stderr.String())
		}
		entries := linkedEntries(t, dir, o.id, o.mtime)
		l := layer.New(func() tree.Seq { return tree.All(entries) }, layer.Options{Dialect: layer.GNU, Prefix: "./", HardLinks: true})
		got := writeLayer(t, l)
		wantSize(t, l, len(got))
		wantEqualTars(t, got, want)

		copies := layer.New(func() tree.Seq { return tree.All(entries) }, layer.Options{Dialect: layer.GNU, Prefix: "./"})
		if want, err = gnuTar(t, dir, o.id, o.mtime).Output(); err != nil {
			t.Fatal(err)
		}
		wantEqualTars(t, writeLayer(t, copies), want)
	}
}

func linkedEntries(t *testing.T, dir string, owner uint32, mtime int64) []*tree.Entry {
	t.Helper()
	entries, err := tree.Collect(owned(dir, owner, mtime)())
	if err != nil {
		t.Fatal(err)
	}
	tree.LinkByInode(entries)
	return entries
}

// TestLinksUnpack: other programs, and this one, unpack the links as names of one file.
func TestLinksUnpack(t *testing.T) {
	dir := linkedTree(t)
	entries := linkedEntries(t, dir, 0, 1)
	data := writeLayer(t, layer.New(func() tree.Seq { return tree.All(entries) }, layer.Options{Dialect: layer.GNU, Prefix: "./", HardLinks: true}))
	for _, tool := range []string{"tar", "bsdtar"} {
		t.Run(tool, func(t *testing.T) {
			to := t.TempDir()
			runTar(t, data, testtools.Need(t, tool), "-C", to, "-xpf", "-")
			if got, want := sameNames(t, to), sameNames(t, dir); got != want {
				t.Errorf("these are names of one file:\n%s\nwant\n%s", got, want)
			}
		})
	}
	name := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	read, err := tree.OpenTar(t.Context(), name, tree.TarOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	again := writeLayer(t, layer.New(func() tree.Seq { return tree.All(read.Entries) }, layer.Options{Dialect: layer.GNU, Prefix: "./", HardLinks: true}))
	wantEqualTars(t, again, data)
}

// sameNames lists the names of each file that has several.
func sameNames(t *testing.T, dir string) string {
	t.Helper()
	names := map[uint64][]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		inode := st.Sys().(*syscall.Stat_t).Ino
		names[inode] = append(names[inode], fmt.Sprintf("%s %v %d", path[len(dir):], st.Mode(), st.Size()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, list := range names {
		if len(list) > 1 {
			all = append(all, strings.Join(list, "\n"))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n\n")
}

// TestLinksReplace: attributes decide, and a link states them again.
func TestLinksReplace(t *testing.T) {
	inode, other := new(tree.Inode), new(tree.Inode)
	file := func(path string, change func(*tree.Entry)) *tree.Entry {
		e := content(&tree.Entry{Path: path, Type: tree.Regular, Mode: 0o755, UID: 1, GID: 2, Inode: inode, Xattrs: map[string]string{"user.a": "b"}}, []byte("abc"))
		if change != nil {
			change(e)
		}
		return e
	}
	for _, tt := range []struct {
		name   string
		change func(*tree.Entry)
		link   bool
	}{
		{"same", nil, true},
		{"other stamp", func(e *tree.Entry) { e.Stamp.Inode = 5 }, true},
		{"no inode", func(e *tree.Entry) { e.Inode = nil }, false},
		{"other inode", func(e *tree.Entry) { e.Inode = other }, false},
		{"new content", func(e *tree.Entry) { e.SetContent(e.Size, e.Content) }, false},
		{"mode", func(e *tree.Entry) { e.Mode = 0o4755 }, false},
		{"user", func(e *tree.Entry) { e.UID = 0 }, false},
		{"group", func(e *tree.Entry) { e.GID = 0 }, false},
		{"user's name", func(e *tree.Entry) { e.Uname = "a" }, false},
		{"group's name", func(e *tree.Entry) { e.Gname = "a" }, false},
		{"time", func(e *tree.Entry) { e.ModTime = 1 }, false},
		{"size", func(e *tree.Entry) { e.Size = 2 }, false},
		{"attribute", func(e *tree.Entry) { e.Xattrs = nil }, false},
		{"no file", func(e *tree.Entry) { e.Type, e.Linkname, e.Size, e.Content = tree.Symlink, "x", 0, nil }, false},
	} {
		links := layer.Links{Prefix: "./"}
		first, second := file("a", nil), file("b", tt.change)
		if links.Replace(first) != first {
			t.Fatal("the first name is replaced")
		}
		got := links.Replace(second)
		if !tt.link {
			if got != second {
				t.Errorf("%s: replaced by %+v", tt.name, got)
			}
			continue
		}
		data, err := encode(layer.GNU, "./", first, got)
		if err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(bytes.NewReader(data))
		_, _ = r.Next()
		hdr, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if hdr.Typeflag != tar.TypeLink || hdr.Linkname != "./a" || hdr.Size != 0 || hdr.Mode != 0o755 || hdr.Uid != 1 || hdr.Gid != 2 || hdr.PAXRecords["SCHILY.xattr.user.a"] != "b" {
			t.Errorf("%s: the header is %+v", tt.name, hdr)
		}
	}
}
