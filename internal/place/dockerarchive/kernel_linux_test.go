package dockerarchive_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/image"
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

// TestKernelCopies: what a pipe gets of a layer that is known goes there within the kernel.
func TestKernelCopies(t *testing.T) {
	const size = 32 << 20
	store := filepath.Join(t.TempDir(), "00000000000000000000000000000000-large")
	if err := os.WriteFile(store, bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o444); err != nil {
		t.Fatal(err)
	}
	l := layer.Store([]string{store}, layer.StoreOptions{ModTime: 1})
	if _, err := l.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	img := image.Named{Image: image.New(image.Description{Architecture: "amd64", OS: "linux", Layers: []image.Layer{l}, History: []image.History{{}}})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := bytesRead(t)
	written := make(chan error)
	go func() {
		err := dockerarchive.Write(context.Background(), w, img, dockerarchive.Options{})
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
