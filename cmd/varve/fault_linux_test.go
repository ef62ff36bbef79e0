package main

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

// faultTree makes a directory with a spec whose image has size bytes that do not
// compress, and a directory for the output.
func faultTree(t *testing.T, size int) string {
	t.Helper()
	dir := openDir(t, "")
	f, err := os.Create(filepath.Join(dir, "noise"))
	must(t, err)
	_, err = io.Copy(f, io.LimitReader(noise{}, int64(size)))
	must(t, err, f.Close(), os.Chmod(f.Name(), 0o644))
	put(t, filepath.Join(dir, "image.yaml"), "name: hello\ncopyToRoot: [noise]\n", 0o644)
	makeDirs(t, filepath.Join(dir, "out"))
	return dir
}

// noise yields bytes that do not compress.
type noise struct{}

func (noise) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Getrandom(p[n:min(n+256, len(p))], 0)
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// mount mounts a tmpfs with the options on a new directory.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	testtools.NeedRoot(t)
	makeDirs(t, dir)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		testtools.Lack(t, "a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// TestDiskFull: an output that does not fit is an error that names it, and
// nothing of it stays to fill the disk.
func TestDiskFull(t *testing.T) {
	dir := faultTree(t, 3<<20)
	for name, options := range map[string]string{"bytes": "size=1m", "inodes": "size=8m,nr_inodes=2"} {
		full := filepath.Join(dir, "full-"+name)
		mount(t, full, options)
		for _, d := range destinations {
			dest := fmt.Sprintf(d.dest, full)
			if name == "inodes" && d.name != "oci" {
				continue // one file has its inode
			}
			t.Run(name+" "+d.name, func(t *testing.T) {
				o := run(t, varve(t, dir, "build", "image.yaml", "-o", dest))
				if o.code != 1 || o.took > deadline {
					t.Errorf("exit code %d after %v, want 1", o.code, o.took)
				}
				mustFind(t, o.stderr, filepath.Join(full, d.file), "no space left on device")
				left := names(full)
				if len(left) == 1 && left[0] == d.file && d.name == "oci" {
					left = names(filepath.Join(full, d.file)) // the directory itself may stay
				}
				if len(left) > 0 {
					t.Errorf("left: %q", left)
				}
			})
		}
	}
}

// TestTempFull: the same for a full TMPDIR, where tarballs are unpacked, and packed
// for standard output.
func TestTempFull(t *testing.T) {
	dir := faultTree(t, 3<<20)
	temp := filepath.Join(dir, "tmp")
	mount(t, temp, "size=1m")
	must(t, writeTar(filepath.Join(dir, "packed.tar.gz"), func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: "noise", Size: 3 << 20, Mode: 0o644}); err != nil {
			return err
		}
		_, err := io.CopyN(w, noise{}, 3<<20)
		return err
	}))
	for _, c := range []struct {
		args []string
		word string
	}{
		{[]string{"build", "image.yaml", "-o", "oci-archive:-"}, `"-"`},
		{[]string{"build", "--name", "x", "--copy", "packed.tar.gz", "-o", "out/a.tar"}, "packed.tar.gz"},
	} {
		cmd := varve(t, dir, c.args...)
		cmd.Env = append(cmd.Env, "TMPDIR="+temp)
		o := run(t, cmd)
		if o.code != 1 {
			t.Errorf("%q: exit code %d, want 1", c.args, o.code)
		}
		mustFind(t, o.stderr, c.word, "no space left on device")
		if left := append(names(temp), names(filepath.Join(dir, "out"))...); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

// TestNoOutput: outputs that cannot be made.
func TestNoOutput(t *testing.T) {
	dir := faultTree(t, 1000)
	put(t, filepath.Join(dir, "file"), "x", 0o644)
	makeDirs(t, filepath.Join(dir, "closed"))
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0o555))
	for _, place := range []struct {
		name, dir, reason string
		nobody            bool
	}{
		{"missing directory", "missing", "no such file or directory", false},
		{"below a file", "file", "not a directory", false},
		{"read-only directory", "closed", "permission denied", true},
		{"read-only file system", "/proc/self", "", false},
	} {
		for _, d := range destinations {
			if place.name == "missing directory" && d.name == "oci" {
				continue // a layout's directories are made
			}
			t.Run(place.name+" "+d.name, func(t *testing.T) {
				cmd := varve(t, dir, "build", "image.yaml", "-o", fmt.Sprintf(d.dest, place.dir))
				if place.nobody {
					testtools.NeedRoot(t)
					asNobody(cmd)
				}
				o := run(t, cmd)
				if o.code != 1 {
					t.Errorf("exit code %d, want 1", o.code)
				}
				mustFind(t, o.stderr, filepath.Join(place.dir, d.file), place.reason)
			})
		}
	}
}

// TestFullDevice: writing fails at the last moment, and that is noticed.
func TestFullDevice(t *testing.T) {
	dir := faultTree(t, 1000)
	for name, args := range map[string][]string{
		"stream":  {"stream", "image.yaml"},
		"build":   {"build", "image.yaml", "-o", "-"},
		"gz":      {"build", "image.yaml", "-o", "-", "--compressor", "gz"},
		"layers":  {"layers", "image.yaml"},
		"schema":  {"schema"},
		"version": {"version"},
		"help":    {"build", "--help"},
		"script":  {"completion", "bash"},
	} {
		t.Run(name, func(t *testing.T) {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			must(t, err)
			defer full.Close()
			cmd := varve(t, dir, args...)
			cmd.Stdout = full
			if o := run(t, cmd); o.code != 1 || !strings.Contains(o.stderr, "no space left on device") {
				t.Errorf("exit code %d, want 1: %s", o.code, o.stderr)
			}
		})
	}
	o := run(t, varve(t, dir, "build", "image.yaml", "-o", "docker-archive:/dev/full"))
	if o.code != 1 {
		t.Errorf("exit code %d, want 1", o.code)
	}
	mustFind(t, o.stderr, "/dev/full", "no space left on device")
}

// TestClosedStreams: a program that is started without standard streams does
// not take a file that it opens for one of them. (Go's runtime opens the null
// device for those that are missing.)
func TestClosedStreams(t *testing.T) {
	dir := faultTree(t, 1000)
	before := fingerprint(t, dir, true)
	for _, args := range [][]string{{"stream", "image.yaml"}, {"build", "missing.yaml"}, {"version"}} {
		cmd := varve(t, dir, args...)
		inShell("exec <&- >&- 2>&-")(cmd)
		run(t, cmd)
	}
	if after := fingerprint(t, dir, true); after != before {
		t.Errorf("there is\n%s\nand was\n%s", after, before)
	}
}

// TestBrokenPipe: when the reader is gone, varve ends at once, with an error.
func TestBrokenPipe(t *testing.T) {
	dir := faultTree(t, 16<<20)
	for _, args := range [][]string{
		{"stream", "image.yaml"},
		{"build", "image.yaml", "-o", "-", "--compressor", "zstd"},
	} {
		r, w, err := os.Pipe()
		must(t, err)
		cmd := varve(t, dir, args...)
		cmd.Stdout = w
		wait := start(t, cmd)
		w.Close()
		_, err = io.ReadFull(r, make([]byte, 1))
		must(t, err, r.Close())
		closed := time.Now()
		if o := wait(); o.code != 1 {
			t.Errorf("%q: exit code %d, want 1: %s", args, o.code, o.stderr)
		} else {
			mustFind(t, o.stderr, "standard output was closed")
		}
		if took := time.Since(closed); took > 2*time.Second {
			t.Errorf("%q: ended %v after its reader", args, took)
		}
	}
}

// TestLimits: running out of file descriptors, or exceeding the largest file size,
// is an error and not a deadlock.
func TestLimits(t *testing.T) {
	dir := faultTree(t, 3<<20)
	many := filepath.Join(dir, "many")
	for i := range 30 {
		put(t, filepath.Join(many, strings.Repeat("d/", i+1)+"f"), "x", 0o644)
	}
	for _, d := range destinations {
		t.Run("EFBIG "+d.name, func(t *testing.T) {
			cmd := varve(t, dir, "build", "image.yaml", "-o", fmt.Sprintf(d.dest, "out"))
			inShell("ulimit -f 1000")(cmd)
			o := run(t, cmd)
			if o.code != 1 || o.took > deadline {
				t.Errorf("exit code %d after %v, want 1: %s", o.code, o.took, o.stderr)
			}
			mustFind(t, o.stderr, filepath.Join("out", d.file), "file too large")
			checkEmpty(t, dir)
		})
		for _, limit := range []int{10, 12, 14, 16, 20, 24} {
			t.Run(fmt.Sprintf("%d descriptors %s", limit, d.name), func(t *testing.T) {
				cmd := varve(t, dir, "build", "image.yaml", "--copy", "many", "-q", "-o", fmt.Sprintf(d.dest, "out"))
				inShell(fmt.Sprintf("ulimit -n %d", limit))(cmd)
				o := run(t, cmd)
				if o.took > deadline {
					t.Errorf("it took %v", o.took)
				}
				if o.code == 0 {
					must(t, os.RemoveAll(filepath.Join(dir, "out", d.file)))
				} else if o.code != 1 || !strings.Contains(o.stderr, "too many open files") {
					t.Errorf("exit code %d, want 0 or 1: %.1000s", o.code, o.stderr)
				}
				checkEmpty(t, dir)
			})
		}
	}
}

// checkEmpty fails if there is anything in the directory out of dir, but for
// an empty layout.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	out := filepath.Join(dir, "out")
	left := names(out)
	if len(left) == 1 && left[0] == "layout" {
		left = names(filepath.Join(out, "layout"))
		must(t, os.RemoveAll(filepath.Join(out, "layout")))
	}
	if len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
