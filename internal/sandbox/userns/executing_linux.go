//go:build amd64 || arm64

package userns

import (
	"path"

	"golang.org/x/sys/unix"
)

// execute is execve(2) and execveat(2): for those who may not run a program, and
// for what it does to credentials.
func (e *emulator) execute(c *call, dirfd, name, flags int) answer {
	who := e.identities.of(c.tid)
	settled := who.settled()
	if who.overrides() && settled == who {
		return pass
	}
	return e.permit(c, dirfd, name, flags, func(f *file) answer {
		if !f.regular() || f.mode&0o111 == 0 {
			return pass // which fails
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

// mayInterpret tells whether the caller may run the interpreters of a script.
func (e *emulator) mayInterpret(c *call, who *credentials, f *file) bool {
	for range maxInterpreters {
		head, err := readHead(f.fd)
		if err != nil {
			return true // what is wrong the kernel finds out
		}
		name := interpreterOf(head)
		if name == "" {
			return true
		}
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
