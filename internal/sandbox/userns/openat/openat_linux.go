//go:build amd64 || arm64

package openat

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
)

// Dir opens a directory. A symlink to one is an error.
func Dir(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// MaxDepth limits how deep directories are looked into. Deeper ones could not be collected.
const MaxDepth = 20_000

// Names lists an open directory from its beginning, if it is not too large.
func Names(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: ".", Err: err}
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	names, err := f.Readdirnames(sandbox.MaxEntries + 1)
	if len(names) > sandbox.MaxEntries {
		return nil, fmt.Errorf("a directory has more than %d entries", sandbox.MaxEntries)
	}
	if err == io.EOF {
		err = nil
	}
	return names, err
}

// Link returns the target of an open symlink.
func Link(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), err
}

// Path returns a path to an open file for this process, whatever its name refers to by now.
func Path(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
