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
	names, err := readNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
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

// TestReclaim: what a killed process left is removed, what one at work has is
// not.
func TestReclaim(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "out")
	stale, busy := tempPrefix(target)+"1", tempPrefix(target)+"2"
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
