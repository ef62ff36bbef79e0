package vm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestModuleFiles: modules come after those that they depend on, and those built into the
// kernel are left out.
func TestModuleFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"modules.builtin": "kernel/fs/ext4/ext4.ko\nkernel/fs/fuse/fuse.ko\n",
		"modules.dep": "k/virtio.ko.xz: k/virtio_ring.ko.xz\nk/virtio_ring.ko.xz:\nk/virtio-pci.ko.xz: k/virtio.ko.xz k/virtio_ring.ko.xz\n" +
			"k/virtio_blk.ko: k/virtio.ko.xz k/virtio_ring.ko.xz\nk/virtio_console.ko:\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	k := kernel{path: "x", modules: dir}
	got, err := k.moduleFiles()
	want := "k/virtio_ring.ko.xz k/virtio.ko.xz k/virtio-pci.ko.xz k/virtio_blk.ko k/virtio_console.ko"
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

// TestFiles: a step depends on the kernel that it runs with.
func TestFiles(t *testing.T) {
	if files, err := New(Options{Kernel: t.TempDir() + "/absent"}).Files(); err == nil {
		t.Errorf("got %q of a kernel that does not exist", files)
	}
	kernel, modules := filepath.Join(t.TempDir(), "vmlinuz"), t.TempDir()
	head := make([]byte, 0x300)
	copy(head[0x202:], "HdrS")
	copy(head[0x20e:], "\x20\x00")
	copy(head[0x220:], "6.1 x")
	err := errors.Join(os.WriteFile(kernel, head, 0o644), os.WriteFile(filepath.Join(modules, "modules.dep"), nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	files, err := New(Options{Kernel: kernel, Modules: modules}).Files()
	if err != nil || !slices.Equal(files, []string{kernel, modules}) {
		t.Errorf("got %q, %v", files, err)
	}
}
