//go:build amd64 || arm64

package fakeroot

import (
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/execfile"
	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// execute answers execve(2) and execveat(2): for callers that may not run a program, and
// for the effect on credentials.
func (e *Emulator) execute(c *call, dirfd, name, flags int) answer {
	who := e.identities.of(c.tid)
	settled := who.settled()
	if who.overrides() && settled == who {
		return pass
	}
	return e.permit(c, dirfd, name, flags, func(f *file) answer {
		if !f.regular() || f.mode&0o111 == 0 {
			return pass // the kernel fails
		}
		if !who.may(f, mayEnter) || !e.mayInterpret(c, &who, f) {
			return fails(unix.EACCES)
		}
		if settled != who {
			if err := e.identities.set(c.tid, settled); err != nil {
				return fails(err)
			}
		}
		return pass
	})
}

// mayInterpret reports whether the caller may run the interpreters of a script.
func (e *Emulator) mayInterpret(c *call, who *credentials, f *file) bool {
	for range MaxInterpreters {
		name := Interpreter(f.fd)
		if name == "" {
			return true // or the kernel finds an error
		}
		var err error
		if f, err = c.find(unix.AT_FDCWD, path.Clean(name), 0); err != nil {
			return err != errDenied
		}
		defer f.close()
		if !who.may(f, mayEnter) {
			return false
		}
	}
	return true
}

// MaxInterpreters is how many scripts the kernel goes through to a program.
const MaxInterpreters = 5

// readHead reads the beginning of a regular file that was opened only to look at.
func readHead(fd int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.Join(err, unix.EINVAL)
	}
	// Leases on the file are not waited for.
	r, err := os.OpenFile(openat.Path(fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, execfile.HeadSize))
}

// Interpreter returns the interpreter that a script names, or "" where the file fd is not a
// script or cannot be read.
func Interpreter(fd int) string {
	head, err := readHead(fd)
	if err != nil {
		return ""
	}
	if info := execfile.Parse(head); info.Kind == execfile.Script {
		return info.Interpreter
	}
	return ""
}
