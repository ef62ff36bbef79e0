//go:build amd64 || arm64

package userns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/sandbox"
	"github.com/varve-image/varve/tree"
)

const (
	whiteoutPrefix = ".wh."
)

// collector writes what has changed in a tree as an image's layer.
type collector struct {
	w *layer.Writer
	// made are mount points that are not part of the tree.
	made []string
	// fakeRoot says that owners are those of the records; else all is root's.
	fakeRoot bool
	records  *records
	// left is what files may still hold, in bytes.
	left int64
	// entries is how many have been looked at.
	entries int
}

// written is where a step has written to: merged is the directory, and was what
// there was in it.
type written struct {
	merged int
	was    *original
}

func (c *collector) collect(root written, w io.Writer) error {
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

// directory writes a directory and all that has changed in it.
func (c *collector) directory(d written, name string) error {
	if err := c.write(d.merged, name); err != nil {
		return err
	}
	names, err := readNames(d.merged)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	slices.Sort(names)
	for _, base := range names {
		if err := c.entry(d, base, path.Join(name, base)); err != nil {
			return err
		}
	}
	for _, base := range d.was.names() {
		if _, there := slices.BinarySearch(names, base); !there {
			if err := c.whiteout(name, whiteoutPrefix, base); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry writes what is called base in a directory, if it may have changed.
func (c *collector) entry(dir written, base, name string) error {
	if c.entries++; c.entries > sandbox.MaxEntries {
		return fmt.Errorf("%q: the tree has more than %d entries", name, sandbox.MaxEntries)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir.merged, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	was := dir.was.was(base)
	switch kind := st.Mode & unix.S_IFMT; {
	case strings.HasPrefix(base, whiteoutPrefix):
		return fmt.Errorf("%q: in a layer a name that begins with %q deletes: the step has to call the file something else", name, whiteoutPrefix)
	case kind == unix.S_IFSOCK && was != nil: // no layer can hold one, but what was there is gone
		return c.whiteout(path.Dir(name), whiteoutPrefix, base)
	case kind == unix.S_IFSOCK, c.isMade(dir.merged, base, name):
		return nil
	case kind == unix.S_IFDIR:
		return c.subdirectory(dir, base, name, was)
	case was != nil && was.ino == st.Ino && was.ctime == st.Ctim.Nano():
		return nil
	}
	// O_PATH opens anything without touching it.
	fd, err := unix.Openat(dir.merged, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer unix.Close(fd)
	return c.write(fd, name)
}

func (c *collector) subdirectory(dir written, base, name string, was *original) (err error) {
	if len(name) > unix.PathMax {
		return fmt.Errorf("%.50q…: the path is longer than the %d bytes that a path may have", name, unix.PathMax)
	}
	sub := written{was: was}
	if sub.merged, err = openDir(dir.merged, base); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer unix.Close(sub.merged)
	return c.directory(sub, name)
}

// was returns what a directory had under a name, or nil.
func (o *original) was(name string) *original {
	if o == nil {
		return nil
	}
	return o.children[name]
}

// names are those that there were in a directory.
func (o *original) names() []string {
	if o == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(o.children))
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

// whiteout writes that something in a directory is gone.
func (c *collector) whiteout(dir, prefix, name string) error {
	return c.w.Write(context.Background(), &tree.Entry{Path: path.Join(dir, prefix+name), Type: tree.Regular})
}

// write writes the file fd, which may be an O_PATH descriptor.
func (c *collector) write(fd int, name string) error {
	if c.left -= entrySize; c.left < 0 {
		return &sandbox.LimitError{Bound: sandbox.BoundDisk}
	}
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
	rec, _ := c.records.get(fd, key{st.Dev, st.Ino})
	rec.apply(&st)
	e := &tree.Entry{Path: name, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Source: "the step"}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = tree.Dir
	case unix.S_IFREG:
		e.Type, e.Size = tree.Regular, size
		if c.left -= max(size-entrySize, 0); c.left < 0 {
			return nil, &sandbox.LimitError{Bound: sandbox.BoundDisk, File: name, Size: size}
		}
		e.Open = func() (io.ReadCloser, error) { return os.Open(procFD(fd)) }
	case unix.S_IFLNK:
		e.Type, e.Mode = tree.Symlink, 0o777
		var err error
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
		if e.Type == tree.Char && st.Rdev == 0 { // which anybody can make
			return nil, errors.New("the character device 0:0 deletes in a layer: the step has to make another")
		}
		return e, nil
	default:
		return nil, fmt.Errorf("it has an unknown type (mode %#o)", st.Mode)
	}
	for attr, value := range rec.xattrs.each {
		// What is no program can have capabilities to no effect, and not in a layer.
		if keptXattr(attr) && (attr != capabilityXattr || e.Type == tree.Regular && value != "") {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = value
		}
	}
	return e, nil
}

func readLink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), err
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
