package ocilayout_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/hostile"
	"github.com/varve-image/varve/layer"
)

// TestHostile: bad layouts are refused with what is wrong and where, as
// directories and as archives; odd ones are read.
func TestHostile(t *testing.T) {
	for _, c := range hostile.LayoutCases() {
		t.Run(c.Name, func(t *testing.T) {
			steady(t)
			dir := filepath.Join(t.TempDir(), "layout")
			writeFiles(t, dir, c.Files)
			archive := filepath.Join(t.TempDir(), "layout.tar")
			mustWrite(t, archive, hostile.Tar(c.Files...))
			for _, path := range []string{dir, archive} {
				err := readAll(t.Context(), path)
				refused := c.Refused
				if path == archive && c.DirOnly {
					continue
				}
				if refused == nil && err != nil {
					t.Errorf("%s: %v", filepath.Base(path), err)
				}
				for _, text := range refused {
					if err == nil || !strings.Contains(err.Error(), text) {
						t.Errorf("%s: error %v, want %q in it", filepath.Base(path), err, text)
					}
				}
				var mismatch *layer.DigestError
				if got := errors.As(err, &mismatch); got != c.Mismatch {
					t.Errorf("%s: a digest error: %v, want %v (%v)", filepath.Base(path), got, c.Mismatch, err)
				}
			}
		})
	}
}

// writeFiles makes files, symlinks and FIFOs in a directory.
func writeFiles(t *testing.T, dir string, files []hostile.Entry) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch f.Type {
		case '2':
			err = errors.Join(err, os.Symlink(f.Link, path))
		case '5':
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		case '6':
			err = errors.Join(err, syscall.Mkfifo(path, 0o644))
		default:
			err = errors.Join(err, os.WriteFile(path, []byte(f.Content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
