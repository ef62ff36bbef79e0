//go:build amd64 || arm64

package fakeroot

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call of a step's thread that waits for an answer.
type call struct {
	tid    int
	number uint32
	args   [6]uint64
	e      *Emulator
	// traced says that a tracer answers the call.
	traced bool
	// waits, unless nil, reports whether the caller still waits for the answer: if not, the
	// thread tid may be another one. Of traced calls a tracer knows that.
	waits func() bool
	// as, unless nil, is whose credentials apply to the caller's paths.
	as *credentials
	// unresolved says why a path of the call led nowhere, if it did.
	unresolved error
}

// who returns the credentials that apply to the call's paths.
func (c *call) who() credentials {
	if c.as != nil {
		return *c.as
	}
	return c.e.identities.of(c.tid)
}

// answer says how a call is answered.
type answer struct {
	// pass lets the kernel do the call.
	pass bool
	// Otherwise the call returns value, or fails with errno.
	value int64
	errno unix.Errno
	// file, if not nil, is added to the caller's files, and is what the call returns.
	file *newFile
	// made, if not nil, describes the file made by a call that the kernel does.
	made *maker
}

// newFile is an open file that the caller is to get.
type newFile struct {
	fd      int
	cloexec bool
}

var pass = answer{pass: true}

func fails(err error) answer {
	if e, ok := err.(unix.Errno); ok { //nolint:errorlint // an error that wraps it is a failure of this program
		return answer{errno: e}
	}
	return answer{errno: unix.EIO}
}

func result(err error) answer {
	if err != nil {
		return fails(err)
	}
	return answer{}
}

func (c *call) fd(n int) int        { return int(int32(c.args[n])) }
func (c *call) int(n int) int       { return int(int32(c.args[n])) }
func (c *call) uint32(n int) uint32 { return uint32(c.args[n]) }

// proc returns the name of something in the caller's directory in /proc.
func (c *call) proc(name string) string { return "/proc/" + strconv.Itoa(c.tid) + "/" + name }

// text reads a string from the caller's memory.
func (c *call) text(n int) (string, error) {
	at := uintptr(c.args[n])
	buf := make([]byte, 0, 256)
	for len(buf) <= unix.PathMax {
		// Not beyond the page, as the next one may not exist.
		size := min(4096-int(at%4096), cap(buf)-len(buf))
		part := buf[len(buf) : len(buf)+size]
		got, err := c.read(at, part)
		if err != nil {
			return "", err
		}
		if end := bytes.IndexByte(part[:got], 0); end >= 0 {
			return string(buf[:len(buf)+end]), nil
		}
		buf = buf[:len(buf)+got]
		at += uintptr(got)
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
	}
	return "", unix.ENAMETOOLONG
}

func (c *call) read(at uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.copy(unix.SYS_PROCESS_VM_READV, at, p)
}

// copy calls process_vm_readv(2) or process_vm_writev(2), which never wait.
func (c *call) copy(number, at uintptr, p []byte) (int, error) {
	if number == unix.SYS_PROCESS_VM_WRITEV && c.gone() {
		return 0, unix.ESRCH
	}
	local := unix.Iovec{Base: &p[0]}
	local.SetLen(len(p))
	remote := unix.RemoteIovec{Base: at, Len: len(p)}
	n, _, errno := unix.RawSyscall6(number, uintptr(c.tid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	if errno != 0 {
		return 0, errno
	}
	if c.gone() {
		return 0, unix.ESRCH
	}
	return int(n), nil
}

// gone reports whether what was read of the thread tid may belong to another thread.
func (c *call) gone() bool { return c.waits != nil && !c.waits() }

// write writes to the address in an argument.
func (c *call) write(n int, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	got, err := c.copy(unix.SYS_PROCESS_VM_WRITEV, uintptr(c.args[n]), p)
	if err == nil && got != len(p) {
		err = unix.EFAULT
	}
	return err
}

func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

// status returns a field of what /proc says about the caller.
func (c *call) status(field string) (string, bool) {
	text, err := os.ReadFile(c.proc("status"))
	if err != nil {
		return "", false
	}
	_, rest, ok := strings.Cut(string(text), "\n"+field+"\t")
	value, _, _ := strings.Cut(rest, "\n")
	return value, ok
}

// umask returns the caller's file mask.
func (c *call) umask() uint32 {
	text, _ := c.status("Umask:")
	mask, err := strconv.ParseUint(text, 8, 32)
	if err != nil {
		return 0o022
	}
	return uint32(mask)
}

// fdinfo returns a field of what /proc says about an open file of the caller's.
func (c *call) fdinfo(fd int, field string) string {
	text, err := os.ReadFile(c.proc("fdinfo/" + strconv.Itoa(fd)))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), field+"\t")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// onlyPath reports whether an open file of the caller's was opened only to look at
// (O_PATH), which calls that change something refuse.
func (c *call) onlyPath(fd int) bool {
	flags, _ := strconv.ParseUint(c.fdinfo(fd, "flags:"), 8, 64)
	return flags&unix.O_PATH != 0
}
