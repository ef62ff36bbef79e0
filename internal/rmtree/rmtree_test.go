package rmtree

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBelow: whatever is in a directory goes, and nothing else.
func TestBelow(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"file":    func(path string) error { return os.WriteFile(path, nil, 0) },
		"link":    func(path string) error { return os.Symlink(outside, path) },
		"fifo":    func(path string) error { return unix.Mkfifo(path, 0o600) },
		".deep-1": func(path string) error { return os.MkdirAll(path+"/full", 0o700) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"/deep", 0o700); err != nil {
		t.Fatal(err)
	}
	deep(t, dir+"/deep", 1200)
	closed := filepath.Join(dir, "closed")
	if err := os.MkdirAll(closed+"/below", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, closed+"/below/link"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{closed + "/below", closed, dir} {
		if err := os.Chmod(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	below(t, dir)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if info, err := os.Lstat(secret); err != nil || info.Mode() != 0o644 {
		t.Errorf("outside: %v, %v", info, err)
	}
}

// deep makes nested directories that their owner may not write to, the deepest first.
func deep(t *testing.T, dir string, depth int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range depth {
		if err != nil {
			t.Fatal(err)
		}
		if err = unix.Mkdirat(at, "d", 0o700); err != nil {
			t.Fatal(err)
		}
		var next int
		next, err = unix.Openat(at, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if chmodErr := unix.Fchmod(at, 0o500); chmodErr != nil {
			t.Fatal(chmodErr)
		}
		unix.Close(at)
		at = next
	}
	unix.Close(at)
}

// below runs Below with few open files.
func below(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if err := Below(int(f.Fd())); err != nil {
		t.Error(err)
	}
}

// TestAllow: a link's target and anything but a directory keep their modes.
func TestAllow(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(dir+"/closed", 0), os.Mkdir(dir+"/other", 0o755), os.Symlink("other", dir+"/link"),
		os.WriteFile(dir+"/file", nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	at, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	for name, want := range map[string]os.FileMode{"closed": 0o700, "link": 0o755, "file": 0o644} {
		err := Allow(int(at.Fd()), name)
		info, statErr := os.Stat(filepath.Join(dir, name))
		if statErr != nil || (err == nil) != (name == "closed") || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; mode %v", name, err, statErr, info.Mode())
		}
	}
}
