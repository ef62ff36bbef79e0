package examples

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the top of the checkout.
const root = ".."

// checkout copies the sources to a new directory, with the modes that git
// gives them under a umask, and returns its path.
func checkout(t *testing.T, umask fs.FileMode) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "varve")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a temporary file of another process
			}
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if slices.Contains([]string{".git", ".cache", "out", "testdata"}, d.Name()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil // git's own file in a work tree
		}
		return copyOne(name, filepath.Join(to, rel), d, umask)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// maxSource is larger than every source and smaller than what the examples make.
const maxSource = 1 << 20

func copyOne(from, to string, d fs.DirEntry, umask fs.FileMode) error {
	info, err := d.Info()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case d.IsDir():
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		return os.Chmod(to, 0o777&^umask)
	case !info.Mode().IsRegular() || info.Size() > maxSource:
		return nil
	}
	content, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o666)
	if info.Mode()&0o100 != 0 {
		mode = 0o777
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		return err
	}
	return os.Chmod(to, mode&^umask)
}

// build compiles the command and returns a directory with it, which comes
// first in a PATH. Progress is left out, as a terminal leaves nothing of it.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(bin, "varve-itself"), "./cmd/varve")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	script(t, filepath.Join(bin, "varve"), `exec "${0%/*}/varve-itself" --progress=none "$@"`)
	return bin
}

// goCache returns the directory where the go command keeps what it compiled. It
// would look for that in XDG_CACHE_HOME, and without it compile Go's library for
// each example.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// script writes a shell script.
func script(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}
