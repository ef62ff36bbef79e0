package tree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// regular returns the regular files of a directory, in several directories below it.
func regular(t *testing.T, n int) (root string, files []*Entry, all []byte) {
	t.Helper()
	root = t.TempDir()
	texts := map[string]string{}
	for i := range n {
		texts[fmt.Sprintf("dir-%d/sub-%d/file-%03d", i/50, i/10, i)] = strings.Repeat("x", i%70) + fmt.Sprint(i)
	}
	texts["empty"] = ""
	writeFiles(t, root, texts)
	for e, err := range FromDir(root, DirOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == Regular {
			files = append(files, e)
			all = append(all, texts[e.Path]...)
		}
	}
	return root, files, all
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestFileReader(t *testing.T) {
	_, files, all := regular(t, 200)
	text := testFile("text", "not on disk")
	files = append(files[:20:20], append([]*Entry{text}, files[20:]...)...)
	var want []byte
	for _, e := range files {
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
		want = append(want, b.Bytes()...)
	}
	if len(want) != len(all)+int(text.Size) {
		t.Fatalf("%d bytes, want %d", len(want), len(all)+int(text.Size))
	}
	before := openDescriptors(t)
	for _, unchecked := range []bool{false, true} {
		got, err := (&FileReader{Unchecked: unchecked}).Append([]byte("before"), files)
		if err != nil || string(got) != "before"+string(want) {
			t.Errorf("unchecked %v: %d bytes, want %d; %v", unchecked, len(got), len(want)+6, err)
		}
	}
	if n := openDescriptors(t); n > before {
		t.Errorf("%d descriptors are open, %d were before", n, before)
	}
}

// TestFileReaderFewDescriptors: files are opened as far as the limit goes.
func TestFileReaderFewDescriptors(t *testing.T) {
	_, files, all := regular(t, 200)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(openDescriptors(t)) + 8
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	got, err := new(FileReader).Append(nil, files)
	if err != nil || !bytes.Equal(got, all) {
		t.Errorf("%d bytes, want %d; %v", len(got), len(all), err)
	}
}

// TestFileReaderNoticesChanges: a file that is not what it was is an error that names it.
func TestFileReaderNoticesChanges(t *testing.T) {
	for name, change := range map[string]func(string) error{
		"vanishes":       os.Remove,
		"is longer":      func(p string) error { return os.WriteFile(p, make([]byte, 1000), 0o644) },
		"is shorter":     func(p string) error { return os.Truncate(p, 1) },
		"is a FIFO":      func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o644)) },
		"is a link":      func(p string) error { return errors.Join(os.Remove(p), os.Symlink("file-101", p)) },
		"is a directory": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o755)) },
		"is behind a link": func(p string) error {
			dir := filepath.Dir(p)
			return errors.Join(os.Rename(dir, dir+".moved"), os.Symlink(filepath.Base(dir)+".moved", dir))
		},
	} {
		for _, unchecked := range []bool{false, true} {
			root, files, _ := regular(t, 200)
			path := filepath.Join(root, "dir-2/sub-10/file-100")
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			_, err := (&FileReader{Unchecked: unchecked}).Append(nil, files)
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s, unchecked %v: the error is %v, want one that names %q", name, unchecked, err, path)
			}
		}
	}
}
