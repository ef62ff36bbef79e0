package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// TestSeveralRead: strace counts how often files are opened. Several destinations open each as
// often as the one that opens it most.
func TestSeveralRead(t *testing.T) {
	strace := testtools.Need(t, "strace")
	dir := openDir(t, "")
	for _, name := range []string{"one", "two", "three"} {
		put(t, filepath.Join(dir, "rootfs", name), strings.Repeat(name, 50000), 0o644)
	}
	opens := func(args ...string) int {
		cmd := varve(t, dir, append([]string{"build", "--name", "x", "--copy", "rootfs", "--no-cache", "-q"}, args...)...)
		log := filepath.Join(dir, "strace.log")
		cmd.Args = append([]string{strace, "-f", "-qq", "-o", log, "-e", "trace=open,openat,openat2", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = strace
		if o := run(t, cmd); strings.Contains(o.stderr, "ptrace") {
			testtools.Lack(t, "strace cannot trace here: %s", o.stderr)
		} else if o.code != 0 {
			t.Fatalf("%q: exit code %d: %s", args, o.code, o.stderr)
		}
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, `/two"`) || strings.Contains(line, `"two"`) {
				n++
			}
		}
		return n
	}
	alone := opens("-o", "alone.tar")
	if alone == 0 {
		t.Fatal("nothing was counted")
	}
	if got := opens("-o", "a.tar", "-o", "b/", "-o", "c.tar.gz", "-o", "docker-archive:d.tar", "-o", "oci-archive:e"); got > alone {
		t.Errorf("the file was opened %d times for five destinations, and %d times for one", got, alone)
	}
	if got := opens("-o", "f/", "-o", "oci:g", "-o", "dir:h"); got > alone {
		t.Errorf("the file was opened %d times for three layouts, and %d times for an archive", got, alone)
	}
}
