package dockerarchive_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/layer"
)

// bytesRead returns how much this process has read by system calls that copy to its memory.
func bytesRead(t *testing.T) (n int64) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err) // every Linux has it
	}
	if _, err := fmt.Sscanf(string(data), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKernelCopies: what a pipe gets of a layer that is known goes there within the kernel, also
// where the pipe is standard output, whose errors are explained.
func TestKernelCopies(t *testing.T) {
	t.Run("pipe", func(t *testing.T) { testKernelCopies(t, func(w *os.File) io.Writer { return w }) })
	t.Run("stdout", func(t *testing.T) { testKernelCopies(t, func(w *os.File) io.Writer { return cmdline.Stdout{W: w} }) })
}

// largeImage is an image with a file that is larger than a pipe, and a layer whose digest is known.
func largeImage(t *testing.T, size int) image.Named {
	t.Helper()
	store := filepath.Join(t.TempDir(), "00000000000000000000000000000000-large")
	if err := os.WriteFile(store, bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o444); err != nil {
		t.Fatal(err)
	}
	l := layer.Store([]string{store}, layer.StoreOptions{ModTime: 1})
	if _, err := l.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	return image.Named{Image: image.New(image.Description{Architecture: "amd64", OS: "linux", Layers: []image.Layer{l}, History: []image.History{{}}})}
}

// TestClosedPipe: what the writer says of a pipe that is closed is the error, also in the middle of
// a file that the kernel copies.
func TestClosedPipe(t *testing.T) {
	img := largeImage(t, 32<<20)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	go func() {
		_, _ = io.CopyN(io.Discard, r, 4<<20)
		r.Close()
	}()
	err = dockerarchive.Write(t.Context(), cmdline.Stdout{W: w}, img, dockerarchive.Options{})
	if err == nil || !strings.Contains(err.Error(), "standard output was closed") {
		t.Errorf("%v", err)
	}
}

func testKernelCopies(t *testing.T, output func(*os.File) io.Writer) {
	const size = 32 << 20
	img := largeImage(t, size)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := bytesRead(t)
	written := make(chan error)
	go func() {
		err := dockerarchive.Write(context.Background(), output(w), img, dockerarchive.Options{})
		w.Close()
		written <- err
	}()
	got, err := io.Copy(io.Discard, struct{ io.Reader }{r})
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err != nil || got < size {
		t.Fatalf("%d bytes came, %v", got, err)
	}
	if own := bytesRead(t) - before - got; own > size/4 {
		t.Errorf("%d bytes were read to write an archive of %d", own, got)
	}
}
