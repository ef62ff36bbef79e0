//go:build amd64 || arm64

package first

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
)

// The links of /proc lead to what this process has, such as its program, which belongs to
// the machine and is not for a step. Nothing that this process itself opens or runs for a
// step may lead through them.

// openPlain opens a path, only to look at it, and fails if it leads through such a link.
func openPlain(name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, name, &how)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// leadsOut reports whether a path leads through such a link.
func leadsOut(name string, err error) bool {
	_, statErr := os.Stat(name)
	return errors.Is(err, unix.ELOOP) && !errors.Is(statErr, unix.ELOOP)
}

// checkDir reports what is wrong with the working directory.
func checkDir(dir string) error {
	f, err := openPlain(dir, unix.O_DIRECTORY)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("its working directory %q is not a directory of the tree", dir)
	case leadsOut(dir, err):
		return fmt.Errorf("its working directory %q leads through a link of /proc", dir)
	}
	return fmt.Errorf("its working directory %q: %w", dir, err)
}

// checkProgram refuses a program, or a script's interpreter, that leads through a link of
// /proc. The kernel finds all other errors.
func checkProgram(name, dir string) error {
	for range fakeroot.MaxInterpreters {
		f, err := openPlain(name, 0)
		if err != nil {
			if leadsOut(name, err) {
				return fmt.Errorf("run %q: it leads through a link of /proc", name)
			}
			return nil
		}
		interpreter := fakeroot.Interpreter(int(f.Fd()))
		f.Close()
		if interpreter == "" {
			return nil
		}
		if name = interpreter; !path.IsAbs(name) {
			name = path.Join(dir, name)
		}
	}
	return nil
}
