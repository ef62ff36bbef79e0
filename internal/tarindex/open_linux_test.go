package tarindex

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenLooksFirst: what is not a regular file is refused without being opened,
// since opening a device may already do something.
func TestOpenLooksFirst(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, fifo, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{fifo: "it is a FIFO", "/dev/null": "it is a device", t.TempDir(): "it is a directory", fifo + ".none": "no such file"} {
		if _, err := Open(t.Context(), name, Options{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want one with %q that leaves the name to the caller", name, err, want)
		}
	}
	if n, err := unix.Read(watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("the FIFO was opened (%d bytes of events, error %v)", n, err)
	}
}
