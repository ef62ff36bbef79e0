//go:build amd64 || arm64

package userns

import (
	"bytes"
	"fmt"
	"os"
	"path"
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
	e      *emulator
	// traced says that a tracer answers the call.
	traced bool
	// waits, unless nil, tells whether the caller still waits for the answer: or
	// the thread tid may be another one. Of what is traced a tracer knows.
	waits func() bool
	// unresolved is why a path of the call's led nowhere, if it did.
	unresolved error
}

// answer is what becomes of a call.
type answer struct {
	// pass lets the kernel do it.
	pass bool
	// Otherwise the call returns value or fails with errno.
	value int64
	errno unix.Errno
	// file, if not nil, is put among the caller's files, and is what the call
	// returns.
	file *newFile
	// made, if not nil, is who makes a file by a call that the kernel does.
	made *maker
}

// newFile is an open file that is to be the caller's.
type newFile struct {
	fd      int
	cloexec bool
}

var pass = answer{pass: true}

func fails(err error) answer {
	if e, ok := err.(unix.Errno); ok {
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

// proc is the name of something in the caller's directory in /proc.
func (c *call) proc(name string) string { return "/proc/" + strconv.Itoa(c.tid) + "/" + name }

// text reads a string from the caller's memory.
func (c *call) text(n int) (string, error) {
	at := uintptr(c.args[n])
	buf := make([]byte, 0, 256)
	for len(buf) <= unix.PathMax {
		// Not beyond the page, after which there may be nothing.
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

// copy is process_vm_readv(2) or process_vm_writev(2), which do not wait for
// anything.
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

// gone tells whether what was read of the thread tid may be another's.
func (c *call) gone() bool { return c.waits != nil && !c.waits() }

// write writes to where an argument points.
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

// file is a file of the tree that a call is about.
type file struct {
	fd    int // O_PATH
	ino   uint64
	mode  uint32 // on disk
	nlink uint32
	rec   record
	known bool // rec is a record
}

func (f *file) close() { unix.Close(f.fd) }

func (f *file) dir() bool { return f.mode&unix.S_IFMT == unix.S_IFDIR }

// touch has the file belong to what the step changed, and changes nothing else.
func (f *file) touch() error {
	return unix.Fchownat(f.fd, "", os.Getuid(), os.Getgid(), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
}

// open opens what a path of the caller's leads to. A path that leads nowhere,
// through another process or out of the tree is not for us: ok is false.
//
// The path is resolved as the caller would: from its root and working
// directory. What we are ourselves must not be reached by it, so that the
// links of /proc that lead to files of a process are not followed.
func (c *call) open(dirfd int, name string, flags int) (f *file, ok bool) {
	fd, err := c.resolve(dirfd, name, flags)
	if err == nil && c.gone() {
		unix.Close(fd)
		err = unix.ESRCH
	}
	if err != nil {
		c.unresolved = err
		return nil, false
	}
	f = &file{fd: fd}
	var st unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	if err != nil || st.Mnt_id != c.e.mount {
		f.close()
		return nil, false
	}
	f.ino, f.mode, f.nlink = st.Ino, uint32(st.Mode), st.Nlink
	f.rec, f.known = c.e.records.get(st.Ino)
	return f, true
}

func (c *call) resolve(dirfd int, name string, flags int) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		how.Flags |= unix.O_NOFOLLOW
	}
	base, rest, err := c.base(dirfd, name)
	if err != nil {
		return -1, err
	}
	if rest == "" {
		if flags&unix.AT_EMPTY_PATH == 0 {
			return -1, unix.ENOENT
		}
		return unix.Open(base, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	at := unix.AT_FDCWD
	if base != "" {
		if at, err = unix.Open(base, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return -1, err
		}
		defer unix.Close(at)
		if path.IsAbs(rest) {
			how.Resolve |= unix.RESOLVE_IN_ROOT
		}
	}
	return unix.Openat2(at, rest, &how)
}

// base returns where a path of the caller's starts: base is a link in /proc, or
// "" for an absolute path, that rest follows. An absolute path after a base
// starts in it, as in a root directory, and never leaves it.
func (c *call) base(dirfd int, name string) (base, rest string, err error) {
	root := "/"
	if c.e.chrooted.Load() {
		if root, err = os.Readlink(c.proc("root")); err != nil {
			return "", "", unix.ESRCH
		}
	}
	start := c.proc("cwd")
	if dirfd != unix.AT_FDCWD {
		start = c.proc("fd/" + strconv.Itoa(dirfd))
	}
	switch {
	case name == "":
		return start, "", nil
	case root == "/" && path.IsAbs(name):
		return "", name, nil
	case root == "/":
		return start, name, nil
	case path.IsAbs(name):
		return c.proc("root"), name, nil
	}
	dir, err := os.Readlink(start)
	below, ok := strings.CutPrefix(dir, root)
	if err != nil || !ok || below != "" && below[0] != '/' {
		return "", "", unix.ENOENT
	}
	return c.proc("root"), "/" + below + "/" + name, nil
}

// parent opens the directory that holds the last part of a path, and returns
// that part.
func (c *call) parent(dirfd int, name string) (dir *file, last string, ok bool) {
	trimmed := strings.TrimRight(name, "/")
	parent, last := path.Split(trimmed)
	if last == "" || last == "." || last == ".." {
		return nil, "", false
	}
	if parent == "" {
		parent = "."
	}
	dir, ok = c.open(dirfd, parent, 0)
	return dir, last, ok
}

// umask is the caller's.
func (c *call) umask() uint32 {
	status, err := os.ReadFile(c.proc("status"))
	if err != nil {
		return 0o022
	}
	_, rest, _ := strings.Cut(string(status), "\nUmask:\t")
	var mask uint32
	if _, err := fmt.Sscanf(rest, "%o", &mask); err != nil {
		return 0o022
	}
	return mask
}
