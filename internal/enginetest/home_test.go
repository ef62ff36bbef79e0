package enginetest

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestReclaim: a home is removed when its owner has been gone for an hour, and not
// before.
func TestReclaim(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	held, err := newHome()
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	lock := filepath.Join(held.dir, "lock")
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(os.TempDir(), homePrefix+"left")
	young := filepath.Join(os.TempDir(), homePrefix+"young")
	for _, dir := range []string{left, young} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(left, "lock"), old, old); err != nil {
		t.Fatal(err)
	}
	second, err := newHome()
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{held.dir: true, young: true, left: false, second.dir: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
	for _, h := range []*home{held, second} {
		if err := h.remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(held.dir); err == nil {
		t.Error("a removed home is still there")
	}
}
