package vm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnfitKernels: a FIFO, device or huge file instead of a kernel's files is never waited
// for, nor read without end.
func TestUnfitKernels(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"modules.dep", "modules.builtin", "kernel"} {
		file := filepath.Join(dir, name)
		for want, make := range map[string]func() error{
			"FIFO": func() error { return unix.Mkfifo(file, 0o600) }, "device": func() error { return os.Symlink("/dev/zero", file) },
			"bytes": func() error { return errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 3<<30)) },
		} {
			if err := make(); err != nil {
				t.Fatal(err)
			}
			_, err := kernel{path: "x", modules: dir}.moduleFiles()
			if name == "kernel" {
				_, err = kernelVersion(file)
				if want == "bytes" { // the first bytes show that it is not a kernel
					want = "not a kernel"
				}
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", name, err, want)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		if name == "modules.dep" {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
