package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

// powered is a file system on a block device that loses its power, with a cache and images on it.
type powered struct {
	memoCase
	size int64
	// options of the mount; ext4 may write names before the content of files.
	options string
}

// TestMemoPower: what is on a disk at one moment of several builds, when nobody has written the rest
// any more, makes the next build no other: of the cache nothing is believed that is not whole, and
// the image of a build that has ended is there.
func TestMemoPower(t *testing.T) {
	testtools.NeedRoot(t)
	moments := 3
	if sweep {
		moments = 60
	}
	for _, options := range []string{"commit=1", "commit=1,data=writeback,noauto_da_alloc"} {
		t.Run(options, func(t *testing.T) {
			p := powered{memoCase: newMemoCase(t), size: 32 << 20, options: options}
			file := filepath.Join(p.dir, "disk-0")
			makeExt4(t, file, p.size>>20)
			damaged, empty, images := 0, 0, 0
			for moment := range moments {
				what := fmt.Sprintf("moment %d", moment)
				next := filepath.Join(p.dir, fmt.Sprintf("disk-%d", moment+1))
				ended := p.lose(t, file, next)
				must(t, os.Remove(file))
				file = next
				d, e, i := p.check(t, what, file, ended, moment%2 == 0)
				damaged, empty, images = damaged+d, empty+e, images+i
			}
			t.Logf("%d moments: %d files of the cache were empty, and verify found %d damaged; %d images were there", moments, empty, damaged, images)
		})
	}
}

// at mounts a file with a file system, and returns where its cache and images are.
func (p powered) at(t *testing.T, file string) (dir string, disk loopDevice, unmount func()) {
	t.Helper()
	dir = openDir(t, p.dir)
	disk = newLoop(t, file)
	return dir, disk, disk.mount(t, dir, "ext4", 0, p.options)
}

// lose builds on the file system in a file, and copies what its device has at one moment to another
// file. It returns which builds had ended before.
func (p powered) lose(t *testing.T, file, to string) (ended []bool) {
	t.Helper()
	dir, _, unmount := p.at(t, file)
	defer unmount()
	must(t, os.RemoveAll(filepath.Join(dir, "cache")))
	unix.Sync() // what was there before is on the disk
	type running struct {
		stop func() error
		done chan int
	}
	var builds []running
	for i, dest := range []string{"%s/a-0.tar.gz", "%s/a-1.tar", "oci-archive:%s/a-2.oci:app:1"} {
		cmd := varve(t, p.dir, "build", "image.yaml", "-q", "--cache", filepath.Join(dir, "cache"), "-o", fmt.Sprintf(dest, dir))
		must(t, os.RemoveAll(filepath.Join(dir, p.imageName(i))), cmd.Start())
		r := running{func() error { return cmd.Process.Signal(syscall.SIGSTOP) }, make(chan int, 1)}
		go func() { _ = cmd.Wait(); r.done <- cmd.ProcessState.ExitCode() }()
		defer func() { _ = cmd.Process.Kill(); <-r.done }()
		builds = append(builds, r)
	}
	for end := time.Now().Add(time.Duration(rand.Int64N(int64(700 * time.Millisecond)))); time.Now().Before(end); {
		time.Sleep(time.Duration(rand.Int64N(int64(100 * time.Millisecond))))
	}
	for _, r := range builds {
		_ = r.stop() // it may have ended
	}
	for _, r := range builds {
		select {
		case code := <-r.done:
			ended = append(ended, code == 0)
			r.done <- code
		default:
			ended = append(ended, false)
		}
	}
	must(t, os.WriteFile(to, atOnce(t, file), 0o600))
	return ended
}

func (p powered) imageName(i int) string { return []string{"a-0.tar.gz", "a-1.tar", "a-2.oci"}[i] }

// atOnce reads a file that the kernel may be writing to, until nothing changes meanwhile.
func atOnce(t *testing.T, file string) []byte {
	t.Helper()
	last, err := os.ReadFile(file)
	must(t, err)
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		now, err := os.ReadFile(file)
		must(t, err)
		if bytes.Equal(now, last) {
			return now
		}
		last = now
	}
	t.Fatal("the device is written to all the time")
	return nil
}

// check mounts what was left, and builds with it. It counts the files of the cache that verify finds
// damaged, before the builds or after them, those that are empty, and the images that are there.
func (p powered) check(t *testing.T, what, file string, ended []bool, verifyFirst bool) (damaged, empty, images int) {
	t.Helper()
	dir, _, unmount := p.at(t, file) // which replays the journal
	defer unmount()
	for i := range ended {
		name := filepath.Join(dir, p.imageName(i))
		_, err := os.Stat(name)
		if err != nil {
			if ended[i] {
				t.Errorf("%s: the image of a build that ended is gone: %v", what, err)
			}
			continue
		}
		images++
		// The same without a cache, elsewhere.
		other := filepath.Join(p.dir, p.imageName(i))
		dest := map[bool]string{true: "oci-archive:" + other + ":app:1", false: other}[strings.HasSuffix(other, ".oci")]
		mustRun(t, p.dir, "build", "image.yaml", "-q", "--no-cache", "-o", dest)
		if got, want := fingerprint(t, name, false), fingerprint(t, other, false); got != want {
			t.Errorf("%s: there is a part of %s:\n%s\nwant\n%s", what, name, got, want)
		}
	}
	cache := filepath.Join(dir, "cache")
	for _, name := range memoFiles(t, cache) {
		if info, err := os.Stat(name); err == nil && info.Size() == 0 {
			empty++
		}
	}
	verify := func() {
		o := run(t, varve(t, p.dir, "cache", "verify", "--cache", cache))
		damaged += strings.Count(o.stderr, "it was removed")
		if o.code != map[bool]int{true: 4, false: 0}[damaged > 0] {
			t.Errorf("%s: verify: exit code %d: %s", what, o.code, o.stderr)
		}
	}
	if verifyFirst {
		if verify(); damaged < empty {
			t.Errorf("%s: %d files are empty, and %d were removed", what, empty, damaged)
		}
	}
	for i := range 2 {
		if got := p.image(t, "after", "--cache", cache); got != p.want {
			t.Errorf("%s: build %d makes\n%s\nwant\n%s", what, i, got, p.want)
		}
	}
	if !verifyFirst {
		verify()
	}
	p.checkCache(t, what, cache)
	return damaged, empty, images
}
