package regfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRead: files up to the limit are read completely; others are not read, and
// nothing is waited for.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int64{"empty": 0, "full": 1000, "over": 1001, "huge": 3 << 30} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(at(name), size); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(unix.Mkfifo(at("fifo"), 0o600), os.Symlink("/dev/zero", at("zero")), os.Symlink("full", at("link")),
		os.Symlink("none", at("dangling")), os.Symlink("fifo", at("waits"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"empty": "", "full": "", "link": "", "over": "more than 1000 bytes", "huge": "more than 1000 bytes",
		"fifo": "it is a FIFO", "waits": "it is a FIFO", "zero": "it is a device", ".": "it is a directory",
	} {
		data, err := Read(at(name), 1000)
		var unfit *UnfitError
		var named *fs.PathError
		switch {
		case want == "" && (err != nil || len(data) > 0 != (name != "empty")):
			t.Errorf("%s: %d bytes and error %v", name, len(data), err)
		case want != "" && (!errors.As(err, &unfit) || !errors.As(err, &named) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	if _, err := Read(at("dangling"), 1000); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a symlink to nothing: %v", err)
	}
	// The kernel's files say that they are empty.
	if data, err := Read("/proc/self/status", 1<<20); runtime.GOOS == "linux" && (err != nil || len(data) == 0) {
		t.Errorf("/proc/self/status: %d bytes, %v", len(data), err)
	}
	if _, err := Read("/proc/self/status", 100); runtime.GOOS == "linux" && (err == nil || !strings.Contains(err.Error(), "more than 100 bytes")) {
		t.Errorf("100 bytes of /proc/self/status: %v", err)
	}
}

// TestCause: errors of package os, also wrapped, lose the names that they have, and others stay.
func TestCause(t *testing.T) {
	other := errors.New("other")
	for _, err := range []error{
		&fs.PathError{Op: "open", Path: "x", Err: unix.EACCES}, &os.LinkError{Op: "rename", Old: "x", New: "y", Err: unix.EACCES},
		fmt.Errorf("a: %w", &fs.PathError{Op: "open", Path: "x", Err: unix.EACCES}), unix.EACCES,
	} {
		if got := Cause(err); got != error(unix.EACCES) {
			t.Errorf("the cause of %q is %q", err, got)
		}
	}
	if got := Cause(other); got != other {
		t.Errorf("the cause of %q is %q", other, got)
	}
	if got := Cause(nil); got != nil {
		t.Errorf("the cause of nil is %q", got)
	}
}

// TestOpenIn: symlinks that stay in the root are followed, wherever that is.
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
	// Everything is inside the machine's own root.
	for _, root := range []string{"", "/"} {
		f, err := OpenIn(root, filepath.Join(dir, "root/out/file"))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// TestOpenAt: in a directory only regular files are opened, and no links.
func TestOpenAt(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(at("file"), []byte("text"), 0o600), os.Mkdir(at("dir"), 0o700),
		unix.Mkfifo(at("fifo"), 0o600), os.Symlink("file", at("link"))); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := OpenAt(root, "file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if data, err := io.ReadAll(f); err != nil || string(data) != "text" {
		t.Errorf("file: %q, %v", data, err)
	}
	for _, name := range []string{"dir", "fifo", "link"} {
		var unfit *UnfitError
		if _, err := OpenAt(root, name); !errors.As(err, &unfit) || unfit.TooLarge {
			t.Errorf("%s: error %v, want one of an unfit file", name, err)
		}
	}
	if _, err := OpenAt(root, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}
