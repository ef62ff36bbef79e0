package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

// loopDevice is a block device that has a file's bytes.
type loopDevice struct{ path, file string }

// newLoop makes one of a file.
func newLoop(t *testing.T, file string) loopDevice {
	t.Helper()
	testtools.NeedRoot(t)
	out, err := exec.Command(testtools.Need(t, "losetup"), "--find", "--show", file).CombinedOutput()
	if err != nil {
		testtools.Lack(t, "a loop device: %s", out)
	}
	l := loopDevice{strings.TrimSpace(string(out)), file}
	t.Cleanup(func() { tool(t, "losetup", "--detach", l.path) })
	return l
}

// mount mounts the device and returns what unmounts it.
func (l loopDevice) mount(t *testing.T, dir, kind string, flags uintptr, options string) (unmount func()) {
	t.Helper()
	makeDirs(t, dir)
	if err := unix.Mount(l.path, dir, kind, flags, options); err != nil {
		testtools.Lack(t, "a mount of %s: %v", kind, err)
	}
	mounted := true
	unmount = func() {
		if mounted {
			mounted = false
			must(t, unix.Unmount(dir, 0))
		}
	}
	t.Cleanup(func() {
		if mounted {
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return unmount
}

// fill makes other bytes of the device's, which nobody has mounted.
func (l loopDevice) fill(t *testing.T, data []byte) {
	t.Helper()
	must(t, os.WriteFile(l.path, data, 0)) // not the file, whose pages the device may still have
	f, err := os.Open(l.path)
	must(t, err)
	must(t, f.Sync(), unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0), f.Close())
}

// tool runs a program that has to be there.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(testtools.Need(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// makeExt4 makes a file system in a file of so many MiB.
func makeExt4(t *testing.T, file string, size int64, options ...string) {
	t.Helper()
	must(t, os.WriteFile(file, nil, 0o600), os.Truncate(file, size<<20))
	tool(t, "mkfs.ext4", append(append([]string{"-q", "-F", "-E", "nodiscard,lazy_itable_init=0"}, options...), file)...)
}

// cachedTree is a directory that is built with a cache and without.
type cachedTree struct{ dir, tree string }

// check builds twice with the cache; the images are those of a build without it.
func (c cachedTree) check(t *testing.T, what string) {
	t.Helper()
	build := func(out string, args ...string) string {
		mustRun(t, c.dir, append([]string{"build", "--name", "a", "--tag", "1", "--copy", c.tree, "-q", "-o", "oci:" + out}, args...)...)
		print := fingerprint(t, filepath.Join(c.dir, out), false)
		must(t, os.RemoveAll(filepath.Join(c.dir, out)))
		return print
	}
	want := build("plain", "--no-cache")
	for i := range 2 {
		if got := build("cached", "--cache", filepath.Join(c.dir, "cache")); got != want {
			t.Errorf("%s, build %d: it makes\n%s\nwant\n%s", what, i, got, want)
		}
	}
}

// settle waits until a file that was changed is recognised from then on.
func settle() { time.Sleep(2100 * time.Millisecond) }

// TestMemoImages: images of file systems, whose files have whatever times their makers chose, one
// mounted after another on one device.
func TestMemoImages(t *testing.T) {
	testtools.NeedRoot(t)
	for name, pack := range map[string]func(t *testing.T, source, file string){
		"squashfs": func(t *testing.T, source, file string) {
			tool(t, "mksquashfs", source, file, "-all-time", "1", "-mkfs-time", "1", "-all-root", "-noappend", "-quiet", "-no-progress")
		},
		// With the times of files, which have nanoseconds.
		"erofs": func(t *testing.T, source, file string) {
			tool(t, "mkfs.erofs", "-U", "00000000-0000-4000-8000-000000000001", file, source)
		},
	} {
		for _, over := range []string{"", "overlay"} {
			if name == "erofs" && over != "" {
				continue // no file of another file system's looks like it is the overlay's own
			}
			t.Run(name+over, func(t *testing.T) {
				dir := openDir(t, "")
				made := time.Now().Add(-time.Hour)
				images := [][]byte{}
				for _, letter := range []string{"a", "b"} {
					file := filepath.Join(dir, "tree/f")
					put(t, file, strings.Repeat(letter, 100), 0o644)
					must(t, os.Chtimes(file, made, made))
					pack(t, filepath.Join(dir, "tree"), filepath.Join(dir, letter))
					data, err := os.ReadFile(filepath.Join(dir, letter))
					must(t, err)
					images = append(images, data)
				}
				c := cachedTree{dir, filepath.Join(dir, "mounted")}
				disk := newLoop(t, filepath.Join(dir, "a"))
				if len(images[0]) != len(images[1]) {
					t.Fatal("the images differ in size")
				}
				mount(t, filepath.Join(dir, "above"), "mode=755") // not every file system can be an overlay's upper one
				var stamps []string
				for i, data := range images {
					disk.fill(t, data)
					unmount := disk.mount(t, c.tree, name, unix.MS_RDONLY, "")
					if over == "" {
						stamps = append(stamps, stampOf(t, filepath.Join(c.tree, "f")))
						c.check(t, fmt.Sprint("image ", i))
					} else {
						stamps = append(stamps, checkOverlay(t, dir, c.tree))
					}
					unmount()
				}
				if stamps[0] != stamps[1] { // otherwise it shows nothing
					t.Errorf("the files differ: %q", stamps)
				}
			})
		}
	}
}

// stampOf returns what a file system says of a file.
func stampOf(t *testing.T, name string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(name, &st))
	return fmt.Sprint(st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim)
}

// checkOverlay is check for an overlay file system on lower, as a live system has it. It returns what
// that says of the file.
func checkOverlay(t *testing.T, dir, lower string) string {
	t.Helper()
	above := openDir(t, filepath.Join(dir, "above"))
	upper, work := filepath.Join(above, "upper"), filepath.Join(above, "work")
	makeDirs(t, upper)
	makeDirs(t, work)
	c := cachedTree{dir, filepath.Join(dir, "overlay")}
	makeDirs(t, c.tree)
	if err := unix.Mount("overlay", c.tree, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work)); err != nil {
		testtools.Lack(t, "an overlay file system: %v", err)
	}
	defer func() { must(t, unix.Unmount(c.tree, 0)) }()
	stamp := stampOf(t, filepath.Join(c.tree, "f"))
	c.check(t, "below an overlay")
	info, err := os.Stat(filepath.Join(c.tree, "f"))
	must(t, err)
	// Now the file is above, with the same size and time.
	must(t, os.WriteFile(filepath.Join(c.tree, "f"), bytes.Repeat([]byte("c"), int(info.Size())), 0o644), os.Chtimes(filepath.Join(c.tree, "f"), info.ModTime(), info.ModTime()))
	c.check(t, "in an overlay")
	return stamp
}

// TestMemoCoarse: a file system whose times are whole seconds, where a file changes as often as can
// be.
func TestMemoCoarse(t *testing.T) {
	dir := openDir(t, "")
	makeExt4(t, filepath.Join(dir, "disk"), 8, "-I", "128")
	c := cachedTree{dir, filepath.Join(dir, "mounted")}
	newLoop(t, filepath.Join(dir, "disk")).mount(t, c.tree, "ext4", 0, "")
	name := filepath.Join(c.tree, "f")
	old := time.Unix(1_000_000_000, 0)
	write := func(letter string, touch bool) {
		t.Helper()
		put(t, name, strings.Repeat(letter, 100), 0o644)
		if touch {
			must(t, os.Chtimes(name, old, old))
		}
	}
	write("a", true)
	if info, err := os.Stat(name); err != nil || info.Sys().(*syscall.Stat_t).Ctim.Nsec != 0 {
		t.Fatalf("its times are not coarse: %v, %v", info, err)
	}
	rounds := 3
	if sweep {
		rounds = 30
	}
	for round := range rounds {
		touch := round%2 == 0
		write("b", touch)
		settle()
		c.check(t, "settled") // it is remembered, where it can be
		for i := range 5 {
			write(string(rune('c'+i)), touch)
			c.check(t, fmt.Sprintf("round %d, change %d", round, i))
			time.Sleep(time.Duration(round*70) * time.Millisecond)
		}
	}
}

// TestMemoDevices: file systems that are copies of each other, with the same inodes and times, one
// mounted after another at one place.
func TestMemoDevices(t *testing.T) {
	dir := openDir(t, "")
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	makeExt4(t, one, 8)
	c := cachedTree{dir, filepath.Join(dir, "mounted")}
	const text = "the bytes that only one of the file systems has"
	disk := newLoop(t, one)
	unmount := disk.mount(t, c.tree, "ext4", 0, "")
	put(t, filepath.Join(c.tree, "f"), strings.Repeat(text, 100), 0o644)
	unmount()
	data, err := os.ReadFile(one)
	must(t, err)
	must(t, os.WriteFile(two, bytes.ReplaceAll(data, []byte(text), bytes.ToUpper([]byte(text))), 0o600))
	settle()
	for i, disk := range []loopDevice{disk, newLoop(t, two), disk} {
		unmount := disk.mount(t, c.tree, "ext4", unix.MS_RDONLY, "noload")
		c.check(t, fmt.Sprint("mount ", i))
		unmount()
	}
}

// TestMemoMapped: what a program writes to a file in its memory shows once the system has written it
// to the disk.
func TestMemoMapped(t *testing.T) {
	dir := openDir(t, "")
	makeExt4(t, filepath.Join(dir, "disk"), 8)
	c := cachedTree{dir, filepath.Join(dir, "mounted")}
	newLoop(t, filepath.Join(dir, "disk")).mount(t, c.tree, "ext4", 0, "")
	put(t, filepath.Join(c.tree, "f"), strings.Repeat("a", 4096), 0o644)
	f, err := os.OpenFile(filepath.Join(c.tree, "f"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	defer func() { must(t, errors.Join(unix.Munmap(mapped))) }()
	for i := range 3 {
		mapped[i] = 'b'
		must(t, unix.Msync(mapped, unix.MS_SYNC))
		c.check(t, "at once")
		settle()
		c.check(t, "settled")
	}
}
