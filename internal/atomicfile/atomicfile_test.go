package atomicfile

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// temp returns a temporary name of target.
func temp(target, suffix string) string {
	return filepath.Join(filepath.Dir(target), tempPrefix(filepath.Base(target))+suffix)
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func TestCommitAndAbort(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "out")
	for _, text := range []string{"first", "second"} {
		f, err := Create(target)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(text)
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(target); string(got) != text {
			t.Errorf("after Commit: %q, want %q", got, text)
		}
	}
	f, err := Create(target)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("third")
	f.Abort()
	if got, _ := os.ReadFile(target); string(got) != "second" {
		t.Errorf("after Abort: %q, want what was there", got)
	}
	if got := list(t, dir); !slices.Equal(got, []string{"out"}) {
		t.Errorf("left in the directory: %q", got)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, target := range []string{dir, filepath.Join(dir, "missing", "out")} {
		if f, err := Create(target); err == nil {
			f.Abort()
			t.Errorf("Create(%q) works", target)
		}
	}
}

func TestDevice(t *testing.T) {
	f, err := Create("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("x")
	if err := f.Commit(); err != nil {
		t.Error(err)
	}
}

// TestReclaim: what a killed process left behind is removed, what a running one
// uses is not.
func TestReclaim(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "out")
	stale, busy := temp(target, "1"), temp(target, "2")
	for _, name := range []string{stale, busy} {
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(busy)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	f, err := Create(target)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if got := list(t, dir); slices.Contains(got, filepath.Base(stale)) || !slices.Contains(got, filepath.Base(busy)) {
		t.Errorf("after Create: %q", got)
	}
}

// TestDir: a directory appears whole, where there was nothing or an empty directory.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "out")
	begin := func(name string) *Dir {
		t.Helper()
		d, err := CreateDir(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.Path(), "file"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := begin(target + "/")
	if err := os.MkdirAll(filepath.Join(d.Path(), "closed/below"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"closed/below", "closed", "."} { // not even an ordinary user's own
		if err := os.Chmod(filepath.Join(d.Path(), name), 0); err != nil {
			t.Fatal(err)
		}
	}
	d.Abort()
	if got := list(t, dir); len(got) > 0 {
		t.Errorf("after Abort: %q", got)
	}
	if err := os.Mkdir(target, 0o777); err != nil {
		t.Fatal(err)
	}
	d = begin(target)
	if got := list(t, target); len(got) > 0 {
		t.Errorf("before Commit: %q", got)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	d.Abort()
	if got := list(t, target); !slices.Equal(got, []string{"file"}) {
		t.Errorf("after Commit: %q", got)
	}
	if got := list(t, dir); !slices.Equal(got, []string{"out"}) {
		t.Errorf("left in the directory: %q", got)
	}
}

func TestCreateDirRefuses(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("file", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("full/of", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("full/of", "link"); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"file", "full", "link/", "missing/out", ".", "./", "..", "full/..", "", "/", "file/out"} {
		if d, err := CreateDir(target); err == nil {
			d.Abort()
			t.Errorf("CreateDir(%q) works", target)
		}
	}
	if got := list(t, "."); !slices.Equal(got, []string{"file", "full", "link"}) {
		t.Errorf("left in the directory: %q", got)
	}
}

// TestReclaimDir: what a killed process left behind is removed, what a running one
// uses is not.
func TestReclaimDir(t *testing.T) {
	target := filepath.Join(t.TempDir(), "out")
	stale := temp(target, "1")
	check(t, os.Chmod(filepath.Dir(target), 0o755)) // others cannot rename what is in it
	if err := os.MkdirAll(filepath.Join(stale, "below"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(stale, 0o500); err != nil {
		t.Fatal(err)
	}
	busy, err := CreateDir(target)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Abort()
	dir := openRoot(t, filepath.Dir(target))
	reclaim(dir, "out")
	if got := list(t, filepath.Dir(target)); !slices.Equal(got, []string{filepath.Base(busy.Path())}) {
		t.Errorf("left in the directory: %q", got)
	}
}
