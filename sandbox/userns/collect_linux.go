//go:build amd64 || arm64

package userns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	// opaqueXattr marks a directory of an upper directory that hides the lower one.
	opaqueXattr = "user.overlay.opaque"
)

// collector writes what an overlay's upper directory has as an image's layer.
type collector struct {
	w *layer.Writer
	// made are mount points that are not part of the tree.
	made []string
	// real says that owners on disk are those of the step.
	real    bool
	records *records
}

// place is a directory in an overlay: in its upper directory, which says what
// there is to collect, and as it is seen, which says what it is like.
type place struct{ upper, merged int }

func (c *collector) collect(root place, w io.Writer) error {
	c.w = layer.NewWriter(w, layer.PAX, "")
	err := c.directory(root, ".")
	if err == nil {
		err = c.w.Close()
	}
	if err != nil {
		return fmt.Errorf("collect what the step changed: %w", err)
	}
	return nil
}

// directory writes a directory and all in it.
func (c *collector) directory(at place, name string) error {
	if err := c.write(at.merged, name); err != nil {
		return err
	}
	opaque := make([]byte, 8)
	if n, err := unix.Fgetxattr(at.upper, opaqueXattr, opaque); err == nil && string(opaque[:n]) == "y" {
		if err := c.whiteout(path.Join(name, whiteoutOpaque)); err != nil {
			return err
		}
	}
	names, err := readNames(at.upper)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	slices.Sort(names)
	for _, base := range names {
		if err := c.entry(at, base, path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}

// entry writes what is called base in a directory.
func (c *collector) entry(dir place, base, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir.upper, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case strings.HasPrefix(base, whiteoutPrefix):
		return fmt.Errorf("%q: in a layer a name that begins with %q deletes: the step has to call the file something else", name, whiteoutPrefix)
	case c.isMade(dir.upper, base, name), kind == unix.S_IFSOCK:
		return nil
	case kind == unix.S_IFCHR && st.Rdev == 0:
		return c.whiteout(path.Join(path.Dir(name), whiteoutPrefix+base))
	case kind != unix.S_IFDIR:
		// O_PATH opens anything without touching it.
		fd, err := unix.Openat(dir.merged, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		defer unix.Close(fd)
		return c.write(fd, name)
	}
	upper, err := openDir(dir.upper, base)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer unix.Close(upper)
	merged, err := openDir(dir.merged, base)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer unix.Close(merged)
	return c.directory(place{upper, merged}, name)
}

func openDir(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// isMade tells whether name is a mount point that is not the tree's, and has
// nothing of the step's in it.
func (c *collector) isMade(dir int, base, name string) bool {
	if !slices.Contains(c.made, name) {
		return false
	}
	fd, err := openDir(dir, base)
	if err != nil {
		return true // a file that something was mounted on
	}
	defer unix.Close(fd)
	names, err := readNames(fd)
	return err == nil && !slices.ContainsFunc(names, func(below string) bool {
		return !c.isMade(fd, below, path.Join(name, below))
	})
}

func (c *collector) whiteout(name string) error {
	return c.w.Write(context.Background(), &tree.Entry{Path: name, Type: tree.Regular})
}

// write writes the file fd, which may be an O_PATH descriptor.
func (c *collector) write(fd int, name string) error {
	e, err := c.describe(fd, name)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return c.w.Write(context.Background(), e)
}

func (c *collector) describe(fd int, name string) (*tree.Entry, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	size := st.Size
	if !c.real {
		st.Uid, st.Gid = 0, 0
	}
	rec, recorded := c.records.get(st.Ino)
	if recorded {
		rec.apply(&st)
	}
	e := &tree.Entry{Path: name, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Source: "the step"}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = tree.Dir
	case unix.S_IFREG:
		e.Type, e.Size = tree.Regular, size
		e.Open = func() (io.ReadCloser, error) { return os.Open(procFD(fd)) }
	case unix.S_IFLNK:
		e.Type, e.Mode = tree.Symlink, 0o777
		e.Linkname, err = readLink(fd)
		return e, err
	case unix.S_IFIFO:
		e.Type = tree.FIFO
		return e, nil
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Type = tree.Char
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			e.Type = tree.Block
		}
		e.Devmajor, e.Devminor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		return e, nil
	default:
		return nil, fmt.Errorf("it has an unknown type (mode %#o)", st.Mode)
	}
	if e.Xattrs, err = readXattrs(fd); err == nil && rec.capability != "" {
		e.Xattrs[capabilityXattr] = rec.capability
	}
	return e, err
}

func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func readLink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), err
}

// readXattrs reads the extended attributes that belong into a layer.
func readXattrs(fd int) (map[string]string, error) {
	file := procFD(fd)
	list, err := growing(func(buf []byte) (int, error) { return unix.Listxattr(file, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for attr := range strings.SplitSeq(string(list), "\x00") {
		if attr != capabilityXattr && !strings.HasPrefix(attr, "user.") || strings.HasPrefix(attr, "user.overlay.") {
			continue
		}
		value, err := growing(func(buf []byte) (int, error) { return unix.Getxattr(file, attr, buf) })
		if err != nil {
			return nil, err
		}
		found[attr] = string(value)
	}
	return found, nil
}

// growing calls a system call with ever larger buffers until the answer fits.
func growing(call func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := call(buf)
		if err != unix.ERANGE {
			return buf[:max(n, 0)], err
		}
	}
}
