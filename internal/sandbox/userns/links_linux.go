//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/execfile"
	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// The links of /proc lead to what this process has, such as its program, which
// is the machine's and not for a step. Nothing that this process itself opens or
// runs for a step may lead through them.

// openPlain opens a path that leads through no such link, to look at.
func openPlain(name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, name, &how)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// leadsOut tells whether a path leads through such a link.
func leadsOut(name string, err error) bool {
	_, statErr := os.Stat(name)
	return errors.Is(err, unix.ELOOP) && !errors.Is(statErr, unix.ELOOP)
}

// checkDir says what is wrong with the working directory.
func checkDir(dir string) error {
	f, err := openPlain(dir, unix.O_DIRECTORY)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("its working directory %q is no directory of the tree", dir)
	case leadsOut(dir, err):
		return fmt.Errorf("its working directory %q leads through a link of /proc", dir)
	}
	return fmt.Errorf("its working directory %q: %w", dir, err)
}

// maxInterpreters is how many scripts the kernel goes through to a program.
const maxInterpreters = 5

// checkProgram refuses a program, or an interpreter of a script, that leads
// through a link of /proc. What else is wrong the kernel finds out.
func checkProgram(name, dir string) error {
	for range maxInterpreters {
		f, err := openPlain(name, 0)
		if err != nil {
			if leadsOut(name, err) {
				return fmt.Errorf("run %q: it leads through a link of /proc", name)
			}
			return nil
		}
		head, err := readHead(int(f.Fd()))
		f.Close()
		if err != nil {
			return nil
		}
		interpreter := interpreterOf(head)
		if interpreter == "" {
			return nil
		}
		if name = interpreter; !path.IsAbs(name) {
			name = path.Join(dir, name)
		}
	}
	return nil
}

// readHead reads the beginning of a regular file that is only looked at yet.
func readHead(fd int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.Join(err, unix.EINVAL)
	}
	// Who has a lease on the file is not waited for.
	r, err := os.OpenFile(openat.Path(fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, execfile.HeadSize))
}

// interpreterOf is what a script says that runs it, or "".
func interpreterOf(head []byte) string {
	if info := execfile.Parse(head); info.Kind == execfile.Script {
		return info.Interpreter
	}
	return ""
}
