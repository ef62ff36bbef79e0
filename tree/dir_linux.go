package tree

import (
	"errors"
	"strconv"
	"strings"

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
// an Entry may carry. The path through /proc stays in the open directory.
func readXattrs(dir int, name string) (map[string]string, error) {
	file := name
	if dir != unix.AT_FDCWD {
		file = "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
	}
	list, err := growing(func(buf []byte) (int, error) { return unix.Llistxattr(file, buf) })
	if err == unix.ENOTSUP {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found map[string]string
	for _, attr := range strings.Split(string(list), "\x00") {
		if !KeepXattr(attr) {
			continue
		}
		value, err := growing(func(buf []byte) (int, error) { return unix.Lgetxattr(file, attr, buf) })
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

// growing calls a system call with ever larger buffers until the answer fits.
func growing(call func([]byte) (int, error)) ([]byte, error) {
	buf := make([]byte, 256)
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
