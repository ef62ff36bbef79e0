//go:build amd64 || arm64

package fakeroot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
	"github.com/varve-image/varve/internal/testtools"
)

// testFile makes a file and opens it to look at.
func testFile(t *testing.T, name string) (int, key) {
	t.Helper()
	if err := os.WriteFile(name, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO, &st); err != nil {
		t.Fatal(err)
	}
	return fd, keyOf(&st)
}

// TestRecordsOfOthers: a file never has the record of an earlier file with the same number,
// however soon it follows.
func TestRecordsOfOthers(t *testing.T) {
	r := unwatched()
	name := filepath.Join(t.TempDir(), "f")
	seen := map[key]bool{}
	again := 0
	for i := range 200 {
		fd, k := testFile(t, name)
		if rec, known := r.get(fd, k); known {
			t.Fatalf("file %d has the record %v", i, rec)
		}
		if seen[k] {
			again++
		}
		seen[k] = true
		if err := r.set(fd, k, record{uid: uint32(i) + 1}); err != nil {
			t.Fatal(err)
		}
		if rec, _ := r.get(fd, k); rec.uid != uint32(i)+1 {
			t.Fatalf("file %d has the record %v", i, rec)
		}
		unix.Close(fd)
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 200 files had a number that another had before", again)
}

// TestRecordsLimited: records of files that are gone make room for others, and where no
// room is left a step is refused.
func TestRecordsLimited(t *testing.T) {
	r := unwatched()
	dir := t.TempDir()
	top, err := openat.Dir(unix.AT_FDCWD, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(top)
	r.most, r.living = 8, (&living{tree: top}).each
	add := func(i int, rec record) error {
		fd, k := testFile(t, filepath.Join(dir, fmt.Sprint(i)))
		defer unix.Close(fd)
		return r.set(fd, k, rec)
	}
	for i := range 100 {
		if err := add(i, record{uid: 1}); err != nil {
			t.Fatal(err)
		}
		if i%10 != 0 {
			os.Remove(filepath.Join(dir, fmt.Sprint(i)))
		}
		if len(r.all) > 40 {
			t.Fatalf("%d records after %d files", len(r.all), i+1)
		}
	}
	large := record{xattrs: makeXattrs(map[string]string{"user.a": strings.Repeat("x", maxAttributes/4)})}
	for i := range 3 {
		if err := add(1000+i, large); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(1003, large); err != unix.ENOSPC {
		t.Errorf("too many attributes: %v", err)
	}
	os.Remove(filepath.Join(dir, "1000"))
	if err := add(1004, large); err != nil {
		t.Errorf("after one was removed: %v", err)
	}
}

// TestIdentitiesLimited: credentials that processes no longer have make room for others.
func TestIdentitiesLimited(t *testing.T) {
	sleep := testtools.Need(t, "sleep")
	var table identityTable
	start := func() *exec.Cmd {
		cmd := exec.Command(sleep, "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	groups := func(i int) credentials {
		return credentials{gid: ids{real: uint32(i)}, groups: strings.Repeat("abcd", maxGroupBytes/16)}
	}
	keep, other := start(), start()
	if err := table.set(keep.Process.Pid, groups(7000)); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := table.set(other.Process.Pid, groups(i)); err != nil {
			t.Fatalf("set %d: %v", i, err)
		}
		if got := table.of(other.Process.Pid); got != groups(i) {
			t.Fatalf("set %d: it is another", i)
		}
		if table.bytes > maxGroupBytes {
			t.Fatalf("%d bytes of groups", table.bytes)
		}
	}
	if table.of(keep.Process.Pid) != groups(7000) {
		t.Error("a process lost its credentials")
	}
	for i := range 2 {
		if err := table.set(start().Process.Pid, groups(8000+i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.set(start().Process.Pid, groups(9000)); err != unix.ENOMEM {
		t.Errorf("more than there is room for: %v", err)
	}
}

// TestWatches: a file loses its capabilities when it is written to, and special modes only
// if the writer was not root.
func TestWatches(t *testing.T) {
	capable := makeXattrs(map[string]string{capabilityXattr: "c", "user.a": "x"})
	plain := capable.without(capabilityXattr)
	for name, c := range map[string]struct {
		was, is record
		change  func(name string) error
		anyone  bool
	}{
		"written": {record{special: unix.S_ISUID, xattrs: capable}, record{special: unix.S_ISUID, xattrs: plain},
			func(name string) error { return os.WriteFile(name, []byte("y"), 0) }, false},
		"by another": {record{special: specialBits, xattrs: capable, written: byMember}, record{xattrs: plain, written: byMember},
			func(name string) error { return os.Truncate(name, 0) }, false},
		"by anyone":   {record{special: specialBits}, record{}, func(name string) error { return os.Truncate(name, 0) }, true},
		"mode":        {record{xattrs: capable}, record{xattrs: capable}, func(name string) error { return os.Chmod(name, 0o700) }, true},
		"renamed":     {record{xattrs: capable}, record{xattrs: capable}, func(name string) error { return os.Rename(name, name+"2") }, true},
		"read":        {record{xattrs: capable}, record{xattrs: capable}, func(name string) error { _, err := os.ReadFile(name); return err }, true},
		"times":       {record{xattrs: capable}, record{xattrs: capable}, func(name string) error { return unix.Utimes(name, []unix.Timeval{{Sec: 5}, {Sec: 5}}) }, true},
		"many others": {record{xattrs: capable}, record{xattrs: plain}, writeMany, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := unwatched()
			var err error
			if r.watches, err = newWatches(c.anyone); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(r.watches.fd)
			name := filepath.Join(t.TempDir(), "f")
			fd, k := testFile(t, name)
			if err := r.set(fd, k, c.was); err != nil {
				t.Fatal(err)
			}
			if err := c.change(name); err != nil {
				t.Fatal(err)
			}
			r.Written()
			if got, _ := r.get(fd, k); got != c.is {
				t.Errorf("its record is %+v, want %+v", got, c.is)
			}
		})
	}
}

// writeMany writes to a file more often than events are kept.
func writeMany(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for range 20_000 {
		if _, err := f.WriteString("y"); err != nil {
			return err
		}
	}
	return nil
}
