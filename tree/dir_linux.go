package tree

import (
	"bytes"
	"errors"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const openPath = unix.O_PATH

func changeTime(st *unix.Stat_t) int64 { return st.Ctim.Nano() }

// openBeneath is openat2(2) without symlinks. errors.ErrUnsupported says that
// the kernel, or a filter in front of it, does not have it.
func openBeneath(dir int, rel string, flags int) (fd int, err error) {
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	err = retryEINTR(func() error {
		fd, err = unix.Openat2(dir, rel, how)
		return err
	})
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.EAGAIN {
		return -1, errors.ErrUnsupported
	}
	return fd, err
}

// readXattrs reads the extended attributes of the file called name in dir that
// an Entry may carry. It uses buf, whose content does not matter.
func readXattrs(dir int, name string, buf []byte) (map[string]string, error) {
	list, err := growing(buf, func(buf []byte) (int, error) { return listXattrs(dir, name, buf) })
	if err == unix.ENOTSUP {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found map[string]string
	for attr := range bytes.SplitSeq(list, []byte{0}) {
		attr := string(attr)
		if !KeepXattr(attr) {
			continue
		}
		value, err := growing(nil, func(buf []byte) (int, error) { return unix.Lgetxattr(throughProc(dir, name), attr, buf) })
		if err != nil {
			return nil, err
		}
		if found == nil {
			found = map[string]string{}
		}
		found[attr] = string(value)
	}
	return found, nil
}

// throughProc returns a path to what is called name in dir. The path stays in the open directory.
func throughProc(dir int, name string) string {
	if dir == unix.AT_FDCWD {
		return name
	}
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
}

// oldKernel says that there is no listxattrat(2): it is of Linux 6.13, and filters of system
// calls may not know it.
var oldKernel atomic.Bool

// listXattrs lists the names of a file's extended attributes, each with a NUL at its end.
func listXattrs(dir int, name string, buf []byte) (int, error) {
	if !oldKernel.Load() {
		file, err := unix.BytePtrFromString(name)
		if err != nil {
			return 0, err
		}
		n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(file)), unix.AT_SYMLINK_NOFOLLOW,
			uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.ENOSYS, unix.EPERM:
			oldKernel.Store(true)
		default:
			return 0, errno
		}
	}
	return unix.Llistxattr(throughProc(dir, name), buf)
}

// growing calls a system call with buf and ever larger buffers until the answer fits.
func growing(buf []byte, call func([]byte) (int, error)) ([]byte, error) {
	if len(buf) == 0 {
		buf = make([]byte, 256)
	}
	for {
		n, err := call(buf)
		if err != unix.ERANGE {
			return buf[:max(n, 0)], err
		}
		buf = make([]byte, 4*len(buf))
	}
}

// closeRange closes the descriptors first to last.
func closeRange(first, last int) error {
	return unix.CloseRange(uint(first), uint(last), 0)
}
