package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bigSource is more than a pipe and all buffers hold, in bytes.
const bigSource = 8 << 20

// TestChangeWhileRead: a source that changes after its digest is known is an
// error that names it. The test reads the start of the archive, which is
// written when the first layer is hashed, then changes the file, then reads on.
func TestChangeWhileRead(t *testing.T) {
	appendTo := func(path string) error {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("more")
		return errors.Join(err, f.Close())
	}
	overwrite := func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("other"), bigSource-100)
		return errors.Join(err, f.Close())
	}
	keepTime := func(change func(string) error) func(string) error {
		return func(path string) error {
			st, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(change(path), os.Chtimes(path, st.ModTime(), st.ModTime()))
		}
	}
	for _, c := range []struct {
		name    string
		change  func(path string) error
		code    int
		message []string
	}{
		{"grows", appendTo, 1, []string{"tree/big", "changed while it was read"}},
		{"shrinks", func(p string) error { return os.Truncate(p, 100) }, 1, []string{"tree/big", "changed while it was read"}},
		{"is overwritten", overwrite, 1, []string{"tree/big", "changed while it was read"}},
		// Size and time show nothing then, but the digest does.
		{"is overwritten in secret", keepTime(overwrite), 1, []string{"layer 1", "its files changed while the image was written"}},
		{"is replaced", func(p string) error {
			return errors.Join(os.WriteFile(p+".new", bytes.Repeat([]byte("y"), bigSource), 0o644), os.Rename(p+".new", p))
		}, 1, []string{"tree/later", "changed while it was read"}},
		{"vanishes", os.Remove, 1, []string{"tree/later", "no such file"}},
		{"becomes a FIFO", func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o644)) }, 1, []string{"tree/later", "FIFO"}},
		{"becomes a link", func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) }, 1, []string{"tree/later"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := openDir(t, "")
			put(t, filepath.Join(dir, "tree/big"), strings.Repeat("x", bigSource), 0o644)
			put(t, filepath.Join(dir, "tree/later"), strings.Repeat("x", bigSource), 0o644)
			// The file in whose middle varve stops is open already, so what
			// happens to a name happens to the next one.
			victim := filepath.Join(dir, "tree/big")
			if c.message[0] == "tree/later" {
				victim = filepath.Join(dir, "tree/later")
			}
			cmd := varve(t, dir, "stream", "--name", "hello", "--copy", "tree")
			o := slowly(t, cmd, func() { must(t, c.change(victim)) })
			if o.code != c.code || o.took > deadline {
				t.Errorf("exit code %d after %v, want %d", o.code, o.took, c.code)
			}
			mustFind(t, o.stderr, c.message...)
		})
	}
}

// slowly runs a command that writes more than a pipe holds. When its first
// bytes are there it calls between, and then reads the rest.
func slowly(t *testing.T, cmd *exec.Cmd, between func()) outcome {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd.Stdout = w
	wait := start(t, cmd)
	w.Close()
	_, err = io.ReadFull(r, make([]byte, 1))
	must(t, err)
	time.Sleep(50 * time.Millisecond) // until the pipe is full
	between()
	_, err = io.Copy(io.Discard, r)
	must(t, err)
	return wait()
}

// TestChangeToFIFO: the same for an image that is built into a FIFO, which stays.
func TestChangeToFIFO(t *testing.T) {
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "tree/big"), strings.Repeat("x", bigSource), 0o644)
	must(t, syscall.Mkfifo(filepath.Join(dir, "out"), 0o600))
	cmd := varve(t, dir, "build", "--name", "hello", "--copy", "tree", "--compressor", "none", "-o", "docker-archive:out")
	wait := start(t, cmd)
	r, err := os.Open(filepath.Join(dir, "out"))
	must(t, err)
	defer r.Close()
	_, err = io.ReadFull(r, make([]byte, 1))
	must(t, err)
	time.Sleep(50 * time.Millisecond)
	must(t, os.Truncate(filepath.Join(dir, "tree/big"), 1<<20))
	_, err = io.Copy(io.Discard, r)
	must(t, err)
	if o := wait(); o.code != 1 {
		t.Errorf("exit code %d, want 1: %s", o.code, o.stderr)
	} else {
		mustFind(t, o.stderr, "tree/big", "changed while it was read")
	}
	if st, err := os.Lstat(filepath.Join(dir, "out")); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the FIFO is %v, %v", st, err)
	}
}
