package tree

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWriteDirRefuses: nothing outside the directory is touched, nothing in it
// followed or replaced.
func TestWriteDirRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		entries []*Entry
		want    []string
	}{
		"leads out":         {[]*Entry{testDir("."), testFile("../canary", "x")}, []string{`".."`, "not clean"}},
		"leads out later":   {[]*Entry{testFile("a/../../canary", "x")}, []string{"not clean"}},
		"absolute":          {[]*Entry{testFile("/canary", "x")}, []string{"not clean"}},
		"no name":           {[]*Entry{testFile("a//b", "x")}, []string{"not clean"}},
		"below a link":      {[]*Entry{testLink("l", "../canary"), testFile("l/x", "x")}, []string{`"l/x"`, "symlink"}},
		"below a file":      {[]*Entry{testFile("f", "x"), testFile("f/x", "x")}, []string{`"f/x"`}},
		"twice":             {[]*Entry{testFile("f", "x"), testFile("f", "y")}, []string{`"f"`, "twice"}},
		"root is a file":    {[]*Entry{testFile(".", "x")}, []string{"root"}},
		"link in the way":   {[]*Entry{testDir("out"), testFile("out/file", "x")}, []string{`"out"`, "exists"}},
		"linked file":       {[]*Entry{testFile("outfile", "x")}, []string{`"outfile"`, "exists"}},
		"file in the way":   {[]*Entry{testFile("here", "x")}, []string{`"here"`, "exists"}},
		"no content":        {[]*Entry{{Path: "f", Type: Regular, Size: 3}}, []string{`"f"`, "no content"}},
		"content too long":  {[]*Entry{sized(testFile("f", "abcd"), 3)}, []string{`"f"`, "4 bytes and not 3"}},
		"content too short": {[]*Entry{sized(testFile("f", "ab"), 3)}, []string{`"f"`, "2 bytes and not 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			canary, root := filepath.Join(temp, "canary"), filepath.Join(temp, "root")
			writeTree(t, temp, "canary/file=untouched", "root/here=kept", "root/out -> ../canary", "root/outfile -> ../canary/file")
			_, err := WriteDir(t.Context(), openRoot(t, root), c.entries, WriteOptions{})
			wantError(t, err, c.want...)
			if got, _ := os.ReadFile(filepath.Join(canary, "file")); string(got) != "untouched" {
				t.Errorf("the canary is %q", got)
			}
			if list, err := os.ReadDir(canary); err != nil || len(list) != 1 {
				t.Errorf("beside the canary: %v, %v", list, err)
			}
			if got, _ := os.ReadFile(filepath.Join(root, "here")); string(got) != "kept" {
				t.Errorf("what was there is %q", got)
			}
		})
	}
}

// openRoot opens a directory until the test's end.
func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func sized(e *Entry, size int64) *Entry {
	e.Size = size
	return e
}

// TestWriteDirContents: contents that come in any order, for more entries than
// were asked for, or not at all.
func TestWriteDirContents(t *testing.T) {
	big := strings.Repeat("0123456789", smallFile/5)
	entries := testTree(t, "", "a/one=1", "a/two=1", "b/big="+big, "b/copy="+big, "c=", "other=o")
	give := func(groups ...[]string) WriteOptions {
		return WriteOptions{Contents: func(_ context.Context, visit func([]*Entry, io.Reader) error) error {
			for _, g := range groups {
				var files []*Entry
				for _, name := range g {
					files = append(files, Find(entries, name))
				}
				if err := visit(files, strings.NewReader(content(t, files[0]))); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	wanted := entries[:len(entries)-1]
	root := t.TempDir()
	_, err := WriteDir(t.Context(), openRoot(t, root), wanted, give([]string{"other"}, []string{"c"}, []string{"b/copy", "b/big"}, []string{"a/one", "a/two", "other"}))
	wantError(t, err)
	read, err := Collect(FromDir(root, DirOptions{}))
	wantError(t, err)
	if got, want := dump(t, read), dump(t, wanted); got != strings.ReplaceAll(want, " implied", "") {
		t.Errorf("got:\n%.1000s\nwant:\n%.1000s", got, want)
	}
	if !linked(t, root, "a/one", "a/two") || !linked(t, root, "b/big", "b/copy") || linked(t, root, "a/one", "c") {
		t.Error("what shares a content is not one file")
	}
	// Another mode is another file.
	Find(entries, "a/two").Mode, Find(entries, "b/copy").Mode = 0o600, 0o600
	root = t.TempDir()
	_, err = WriteDir(t.Context(), openRoot(t, root), wanted, give([]string{"a/one", "a/two"}, []string{"c"}, []string{"b/big", "b/copy"}))
	wantError(t, err)
	if linked(t, root, "a/one", "a/two") || linked(t, root, "b/big", "b/copy") {
		t.Error("files with different modes are one")
	}
	if read, err = Collect(FromDir(root, DirOptions{})); dump(t, read) != strings.ReplaceAll(dump(t, wanted), " implied", "") {
		t.Errorf("copies differ: %v", err)
	}
	_, err = WriteDir(t.Context(), openRoot(t, t.TempDir()), wanted, give([]string{"a/one", "a/two"}))
	wantError(t, err, "no content")
	broken := WriteOptions{Contents: func(context.Context, func([]*Entry, io.Reader) error) error { return errors.New("broken") }}
	_, err = WriteDir(t.Context(), openRoot(t, t.TempDir()), wanted, broken)
	wantError(t, err, "broken")
}

func linked(t testing.TB, root, a, b string) bool {
	t.Helper()
	var info [2]os.FileInfo
	for i, name := range []string{a, b} {
		var err error
		if info[i], err = os.Lstat(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return os.SameFile(info[0], info[1])
}

func TestWriteDirCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	entries := testTree(t, "", "a=1", "b=2")
	content := entries[1].Content
	entries[1].Content = OpenFunc(func() (io.ReadCloser, error) { cancel(); return content.Open() })
	if _, err := WriteDir(ctx, openRoot(t, t.TempDir()), entries, WriteOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestWriteDirOmits: what an ordinary user cannot set is returned.
func TestWriteDirOmits(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can set it all: see TestExportOmits of the command for ordinary users")
	}
	entries := testTree(t, "", "bin/su=su", "etc/motd=hi", "dev/null=")
	for _, e := range entries {
		e.UID, e.GID = 12345, 12345
	}
	Find(entries, "bin/su").Mode = 0o6755
	null := Find(entries, "dev/null")
	null.Type, null.Content, null.Devmajor, null.Devminor = Char, nil, 1, 3
	root := t.TempDir()
	omitted, err := WriteDir(t.Context(), openRoot(t, root), entries, WriteOptions{})
	wantError(t, err)
	got := map[Attribute]int{}
	for _, o := range omitted {
		got[o.What] = o.Count
	}
	if want := map[Attribute]int{OmittedOwner: 6, OmittedSetID: 1, OmittedDevice: 1}; !maps.Equal(got, want) {
		t.Errorf("omitted %v, want %v", got, want)
	}
	if st, err := os.Stat(filepath.Join(root, "bin/su")); err != nil || st.Mode() != 0o755 {
		t.Errorf("bin/su is %v, %v", st, err)
	}
}

// TestOpenInside: with openat2(2) or without, directories are not looked for
// through symlinks, or outside.
func TestOpenInside(t *testing.T) {
	temp := t.TempDir()
	writeTree(t, temp, "canary/file=x", "root/a/b/c/file=x", "root/a/out -> ../../canary", "root/a/in -> b", "root/last -> a/b/c/file")
	root, err := openAt(unix.AT_FDCWD, filepath.Join(temp, "root"), unix.O_RDONLY|unix.O_DIRECTORY)
	wantError(t, err)
	defer unix.Close(root)
	for name, open := range map[string]func(int, string, int) (int, error){"openat2": openInside, "stepwise": openStepwise} {
		for _, c := range []struct {
			path string
			ok   bool
		}{
			{"a", true}, {"a/b", true}, {"a/b/c/file", true}, {"a/in/c/file", false}, {"a/out/file", false}, {"last", false},
			{"a/b/c/file/x", false}, {"a/missing", false},
		} {
			fd, err := open(root, c.path, unix.O_RDONLY)
			if (err == nil) != c.ok {
				t.Errorf("%s: open %q: %v", name, c.path, err)
			}
			if err == nil {
				unix.Close(fd)
			}
		}
	}
}
