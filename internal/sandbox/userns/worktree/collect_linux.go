//go:build amd64 || arm64

package worktree

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

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
	"github.com/varve-image/varve/internal/sandbox/userns/openat"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

const (
	whiteoutPrefix = tree.WhiteoutPrefix
)

// collector writes the changes of a tree as an image's layer.
type collector struct {
	w     *layer.Writer
	links layer.Links
	// inodes are those of the files with several names.
	inodes map[inode]*tree.Inode
	// made are mount points that are not part of the tree.
	made    []string
	records *fakeroot.Records
	// left is how much may still count towards the disk limit, in bytes.
	left int64
	// entries counts the entries looked at, and text the bytes of their names, link targets
	// and attributes.
	entries, text int
}

// inode is how the kernel tells files apart.
type inode struct{ device, number uint64 }

// Collect writes the changes of the tree as an image's layer, except for made: mount points
// that are not part of it. limit is the limit of its size, in bytes.
func (t Tree) Collect(w io.Writer, r *fakeroot.Records, made []string, limit int64) error {
	c := &collector{inodes: map[inode]*tree.Inode{}, made: made, records: r, left: limit}
	return c.collect(t, w)
}

func (c *collector) collect(root Tree, w io.Writer) error {
	c.w = layer.NewWriter(w, layer.PAX, "")
	err := c.directory(root, ".")
	if err == nil {
		err = c.w.Close()
	}
	if errors.Is(err, unix.EPIPE) {
		return ErrUnread
	}
	if err != nil {
		return fmt.Errorf("collect what the step changed: %w", err)
	}
	return nil
}

// ErrUnread says that the changes are no longer being read; the reader knows why.
var ErrUnread = errors.New("what the step changed is not read to its end")

// directory writes a directory and everything in it that has changed.
func (c *collector) directory(d Tree, name string) error {
	if err := c.write(d.Dir, name, d.Was); err != nil {
		return err
	}
	names, err := openat.Names(d.Dir)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if err := c.count(name, names); err != nil {
		return err
	}
	slices.Sort(names)
	for _, base := range names {
		if err := c.entry(d, base, path.Join(name, base)); err != nil {
			return err
		}
	}
	for _, base := range d.Was.names() {
		if _, there := slices.BinarySearch(names, base); !there {
			if err := c.whiteout(name, whiteoutPrefix, base); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry writes the entry base of a directory, if it may have changed.
func (c *collector) entry(dir Tree, base, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir.Dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	was := dir.Was.Was(base)
	switch kind := st.Mode & unix.S_IFMT; {
	case strings.HasPrefix(base, whiteoutPrefix):
		return fmt.Errorf("%q: in a layer a name that begins with %q deletes: the step has to call the file something else", name, whiteoutPrefix)
	case kind == unix.S_IFSOCK && was != nil: // layers cannot hold sockets, but what was there is gone
		return c.whiteout(path.Dir(name), whiteoutPrefix, base)
	case kind == unix.S_IFSOCK, c.isMade(dir.Dir, base, name):
		return nil
	case kind == unix.S_IFDIR:
		return c.subdirectory(dir, base, name, was)
	case was.Is(&st):
		return nil
	}
	// O_PATH opens anything without touching it.
	fd, err := unix.Openat(dir.Dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer unix.Close(fd)
	return c.write(fd, name, nil)
}

// count counts the content of a directory before looking at each entry: the names of all
// directories on the way are held at once.
func (c *collector) count(dir string, names []string) error {
	if c.entries += len(names); c.entries > sandbox.MaxEntries {
		return fmt.Errorf("%.200q: the tree has more than %d entries", dir, sandbox.MaxEntries)
	}
	for _, base := range names {
		if err := c.keep(dir, len(dir)+len("/")+len(base)); err != nil {
			return err
		}
	}
	return nil
}

// keep counts what the reader of the layer keeps of an entry: text is its length in bytes.
func (c *collector) keep(name string, text int) error {
	if c.text += text; c.text > sandbox.MaxText {
		return fmt.Errorf("%.200q: names, link targets and attributes are larger than %d bytes: the step has to leave fewer files, or shorter paths", name, sandbox.MaxText)
	}
	return nil
}

func (c *collector) subdirectory(dir Tree, base, name string, was *Original) (err error) {
	if len(name) > unix.PathMax {
		return fmt.Errorf("%.50q…: the path is longer than the %d bytes that a path may have", name, unix.PathMax)
	}
	sub := Tree{Was: was}
	if sub.Dir, err = openat.Dir(dir.Dir, base); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer unix.Close(sub.Dir)
	return c.directory(sub, name)
}

// isMade reports whether name is a mount point that is not the tree's, and contains nothing
// of the step's.
func (c *collector) isMade(dir int, base, name string) bool {
	if !slices.Contains(c.made, name) {
		return false
	}
	fd, err := openat.Dir(dir, base)
	if err != nil {
		return true // a file that something was mounted on
	}
	defer unix.Close(fd)
	names, err := openat.Names(fd)
	return err == nil && !slices.ContainsFunc(names, func(below string) bool {
		return !c.isMade(fd, below, path.Join(name, below))
	})
}

// whiteout writes that something in a directory is gone.
func (c *collector) whiteout(dir, prefix, name string) error {
	return c.w.Write(context.Background(), &tree.Entry{Path: path.Join(dir, prefix+name), Type: tree.Regular})
}

// write writes the file fd, which may be an O_PATH descriptor, and counts it unless it is
// unchanged.
func (c *collector) write(fd int, name string, was *Original) error {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	unchanged := was.Is(&st)
	var e *tree.Entry
	if err == nil {
		e, err = c.describe(fd, name, st)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	xattrs := 0
	for attr, value := range e.Xattrs {
		xattrs += len(tree.XattrRecord) + len(attr) + len(value)
	}
	if err := c.keep(name, len(e.Linkname)+xattrs); err != nil {
		return err
	}
	if unchanged {
		return c.w.Write(context.Background(), e)
	}
	size := sandbox.EntrySize(len(name), len(e.Linkname), xattrs)
	if c.left -= max(e.Size, size); c.left < 0 {
		limit := &sandbox.LimitError{Limit: sandbox.LimitDisk}
		if e.Size > size { // on its own
			limit.File, limit.Size = name, e.Size
		}
		return limit
	}
	return c.w.Write(context.Background(), c.links.Replace(e))
}

// inode returns the identity of a file that has other names, or nil.
func (c *collector) inode(st *unix.Stat_t) *tree.Inode {
	if st.Nlink < 2 {
		return nil
	}
	at := inode{st.Dev, st.Ino}
	if c.inodes[at] == nil {
		c.inodes[at] = new(tree.Inode)
	}
	return c.inodes[at]
}

func (c *collector) describe(fd int, name string, st unix.Stat_t) (*tree.Entry, error) {
	size := st.Size
	xattrs := c.records.Describe(fd, &st)
	e := &tree.Entry{Path: name, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Source: "the step"}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = tree.Dir
	case unix.S_IFREG:
		e.Type, e.Size, e.Inode = tree.Regular, size, c.inode(&st)
		e.Content = tree.OpenFunc(func() (io.ReadCloser, error) { return os.Open(openat.Path(fd)) })
	case unix.S_IFLNK:
		e.Type, e.Mode = tree.Symlink, 0o777
		var err error
		e.Linkname, err = openat.Link(fd)
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
		if e.Type == tree.Char && st.Rdev == 0 { // anybody can make these
			return nil, errors.New("the character device 0:0 deletes in a layer: the step has to make another")
		}
		return e, nil
	default:
		return nil, fmt.Errorf("it has an unknown type (mode %#o)", st.Mode)
	}
	e.Xattrs = xattrs
	return e, nil
}
