//go:build amd64

package vm

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFileServer: a guest sees what is in the shared directory, and by no name
// anything else.
func TestFileServer(t *testing.T) {
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	for _, err := range []error{
		os.Mkdir(shared, 0o755), os.Mkdir(shared+"/sub", 0o755),
		os.WriteFile(shared+"/sub/file", bytes.Repeat([]byte("0123456789"), 20000), 0o644),
		os.WriteFile(dir+"/secret", []byte("secret"), 0o644),
		os.Symlink("../secret", shared+"/out"), os.Symlink("..", shared+"/up"), syscall.Mkfifo(shared+"/fifo", 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ours, theirs, err := serialPort()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	server, err := newFileServer(ours, []share{{Path: "/x", source: shared}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.serve() }()
	client := newFileClient(theirs)

	for _, c := range []struct {
		q    question
		want syscall.Errno
		data string
	}{
		{question{Op: opStat}, 0, ""},
		{question{Op: opReadLink, Path: "out"}, 0, "../secret"},
		{question{Op: opRead, Path: "sub/file", Offset: 199_995, Size: 100}, 0, "56789"},
		{question{Op: opRead, Path: "out", Size: 100}, unix.ELOOP, ""},
		{question{Op: opRead, Path: "up/secret", Size: 100}, unix.ELOOP, ""},
		{question{Op: opRead, Path: "../secret", Size: 100}, unix.EXDEV, ""},
		{question{Op: opStat, Path: "/etc/passwd"}, unix.EXDEV, ""},
		{question{Op: opRead, Path: "fifo", Size: 100}, unix.EACCES, ""},
		{question{Op: opRead, Path: "sub", Size: 100}, unix.EACCES, ""},
		{question{Op: opRead, Path: "sub/file", Size: -1}, unix.EINVAL, ""},
		{question{Op: opRead, Path: "sub/file", Size: 1 << 40}, unix.EINVAL, ""},
		{question{Op: opRead, Path: "sub/file", Size: 10, Offset: -5}, unix.EIO, ""},
		{question{Op: "write", Path: "sub/file"}, unix.EINVAL, ""},
		{question{Op: opStat, Path: "none"}, unix.ENOENT, ""},
	} {
		_, data, err := client.ask(c.q)
		if got := errno(err); got != c.want || c.want == 0 && string(data) != c.data {
			t.Errorf("%+v: %q, %v, want %q, %v", c.q, data, err, c.data, c.want)
		}
	}
	if _, data, err := client.ask(question{Op: opReadDir}); err != nil || !strings.Contains(string(data), "dsub\x00") || strings.Count(string(data), "\x00") != 4 {
		t.Errorf("names %q, %v", data, err)
	}
	if _, data, err := client.ask(question{Op: opRead, Path: "sub/file", Size: maxRead}); err != nil || len(data) != 200_000 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	// What makes no sense ends it.
	if err := client.frames.writeJSON(frameAsk, question{Op: opStat, Share: 1}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err == nil {
			t.Error("a share that there is not is no error")
		}
	case <-time.After(10 * time.Second):
		t.Error("a share that there is not is answered")
	}
}

// TestFrames: a frame that is too long, or cut, is an error, and takes no memory.
func TestFrames(t *testing.T) {
	var long [5]byte
	binary.LittleEndian.PutUint32(long[1:], 1<<31)
	for name, in := range map[string][]byte{"too long": long[:], "cut": {'o', 9, 0, 0, 0, 'x'}, "cut head": {'o', 9}} {
		if _, _, err := readFrame(bytes.NewReader(in), make([]byte, maxFrame)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, _, err := readFrame(strings.NewReader(""), nil); err != io.EOF {
		t.Errorf("nothing: %v, want io.EOF", err)
	}
}

// TestModuleFiles: modules come behind those that they depend on, and those
// that the kernel has built in are left out.
func TestModuleFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"modules.builtin": "kernel/fs/ext4/ext4.ko\nkernel/fs/fuse/fuse.ko\n",
		"modules.dep": "k/virtio.ko.xz: k/virtio_ring.ko.xz\nk/virtio_ring.ko.xz:\nk/virtio-pci.ko.xz: k/virtio.ko.xz k/virtio_ring.ko.xz\n" +
			"k/virtio_blk.ko: k/virtio.ko.xz k/virtio_ring.ko.xz\nk/virtio_console.ko:\nk/overlay.ko:\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	k := kernel{path: "x", modules: dir}
	got, err := k.moduleFiles()
	want := "k/virtio_ring.ko.xz k/virtio.ko.xz k/virtio-pci.ko.xz k/virtio_blk.ko k/virtio_console.ko k/overlay.ko"
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %q, %v, want %s", got, err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := k.moduleFiles(); err == nil {
		t.Error("modules that are missing are no error")
	}
}
