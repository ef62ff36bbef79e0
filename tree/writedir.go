package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// WriteOptions are the options of WriteDir.
type WriteOptions struct {
	// Contents calls visit with the content of every regular file, in any order; files are the
	// entries that have it, and content is read to its end before visit returns. With
	// Overlay.Each, each layer is read once. If it is nil, every entry is opened.
	Contents func(ctx context.Context, visit func(files []*Entry, content io.Reader) error) error
}

// Omitted describes an attribute of entries that could not be set in the directory.
type Omitted struct {
	What Attribute
	// Count is how many entries lack it, and Entry the first of them by path.
	Count int
	Entry *Entry
}

// Attribute is something that may be omitted of an entry.
type Attribute string

// What WriteDir may have to omit.
const (
	// OmittedOwner: the entry has the process's owner instead.
	OmittedOwner Attribute = "owner"
	// OmittedSetID: a file lacks its set-user-id or set-group-id bit, which
	// would give away the process's own rights instead of the stated owner's.
	OmittedSetID Attribute = "set-id bit"
	// OmittedXattr: an extended attribute is missing.
	OmittedXattr Attribute = "extended attribute"
	// OmittedDevice: a device (or a FIFO, on systems other than Linux) is not
	// there.
	OmittedDevice Attribute = "device"
)

// WriteDir writes a tree into the open directory dir: the files with modes, owners,
// times and extended attributes as the entries say, whatever the umask. dir
// itself becomes the root.
//
// dir should be empty, and nobody else should write to it meanwhile: anything in the way is an
// error. Nothing outside dir is written, whatever the entries say: names that could lead out are
// refused, directories are opened inside dir without following a symlink, and files are made in
// them, never opened as they are. Devices are never opened.
//
// What the kernel refuses to this process (owners and devices to an ordinary
// user, attributes on file systems without them) is omitted and returned. All
// other failures are errors, after which part of the tree is there.
//
// Entries that share their content and are the same in everything else become hard links. The
// files are written by several goroutines. Nothing is synced to disk. Entries need not be in
// order or have their parents; a path given twice, or one below something other than a
// directory, is an error.
func WriteDir(ctx context.Context, dir *os.Root, entries []*Entry, opts WriteOptions) ([]Omitted, error) {
	all, err := Complete(entries)
	if err != nil {
		return nil, fmt.Errorf("write tree: %w", err)
	}
	root, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	w := &dirFill{root: int(root.Fd()), entries: all, omitted: map[Attribute]*Omitted{}}
	if err := w.skeleton(ctx); err != nil {
		return nil, err
	}
	if err := w.files(ctx, opts.Contents); err != nil {
		return nil, err
	}
	if err := w.finish(ctx); err != nil {
		return nil, err
	}
	return w.report(), nil
}

// dirFill is the state of one WriteDir.
type dirFill struct {
	root    int
	entries []*Entry

	mu      sync.Mutex
	omitted map[Attribute]*Omitted
}

// omit notes what e lacks.
func (w *dirFill) omit(what Attribute, e *Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.omitted[what]
	if o == nil {
		o = &Omitted{What: what, Entry: e}
		w.omitted[what] = o
	}
	o.Count++
	if compareEntries(e, o.Entry) < 0 {
		o.Entry = e
	}
}

func (w *dirFill) report() []Omitted {
	var list []Omitted
	for _, what := range []Attribute{OmittedOwner, OmittedSetID, OmittedXattr, OmittedDevice} {
		if o := w.omitted[what]; o != nil {
			list = append(list, *o)
		}
	}
	return list
}

// cursor is a directory below the root that stays open for the next entry in it.
type cursor struct {
	root int
	dir  string
	fd   int
}

func (w *dirFill) cursor() *cursor { return &cursor{root: w.root, dir: ".", fd: w.root} }

// of opens the directory that e is in, and returns it and e's name there.
func (c *cursor) of(e *Entry) (fd int, name string, err error) {
	dir := path.Dir(e.Path)
	if dir == c.dir {
		return c.fd, path.Base(e.Path), nil
	}
	c.close()
	if dir != "." {
		if fd, err = openInside(c.root, dir, openPath|unix.O_DIRECTORY); err != nil {
			return -1, "", fail("open directory of", e.Path, err)
		}
		c.dir, c.fd = dir, fd
	}
	return c.fd, path.Base(e.Path), nil
}

func (c *cursor) close() {
	if c.fd != c.root {
		unix.Close(c.fd)
	}
	c.dir, c.fd = ".", c.root
}

// skeleton makes all that is not a regular file. Directories can be written to
// until finish.
func (w *dirFill) skeleton(ctx context.Context) error {
	at := w.cursor()
	defer at.close()
	if w.entries[0].Type != Dir {
		return fmt.Errorf("write tree: its root is a %s", w.entries[0].Type)
	}
	for _, e := range w.entries[1:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if clean, err := archivePath(e.Path); err != nil || clean != e.Path {
			return fmt.Errorf("write %q: its path is not clean", e.Path)
		}
		if e.Type == Regular {
			continue
		}
		dir, name, err := at.of(e)
		if err != nil {
			return err
		}
		if e.Type == Dir {
			if err = unix.Mkdirat(dir, name, 0o700); err == nil {
				err = unix.Fchmodat(dir, name, 0o700, 0) // whatever the umask
			}
		} else {
			err = w.special(dir, name, e)
		}
		if err != nil {
			return fail("write", e.Path, err)
		}
	}
	return nil
}

// special makes a symlink, a device or a FIFO.
func (w *dirFill) special(dir int, name string, e *Entry) error {
	if e.Type == Symlink {
		if err := unix.Symlinkat(e.Linkname, dir, name); err != nil {
			return err
		}
	} else if err := makeNode(dir, name, e); refused(err) {
		w.omit(OmittedDevice, e)
		return nil
	} else if err != nil {
		return err
	}
	err := unix.Fchownat(dir, name, int(e.UID), int(e.GID), unix.AT_SYMLINK_NOFOLLOW)
	if err := w.owned(err, e, func(st *unix.Stat_t) error { return unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return err
	}
	if e.Type != Symlink {
		// Only what was just made can have the name.
		if err := unix.Fchmodat(dir, name, e.Mode, 0); err != nil {
			return err
		}
	}
	if len(e.Xattrs) > 0 { // the kernel has none for these
		w.omit(OmittedXattr, e)
	}
	return setTime(dir, name, e)
}

// finish gives directories their attributes, those below a directory first: its mode may prevent
// opening anything below it.
func (w *dirFill) finish(ctx context.Context) error {
	at := w.cursor()
	defer at.close()
	for _, e := range slices.Backward(w.entries) {
		if e.Type != Dir {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.finishDir(at, e); err != nil {
			return err
		}
	}
	return nil
}

func (w *dirFill) finishDir(at *cursor, e *Entry) error {
	dir, name, err := at.of(e)
	if err != nil {
		return err
	}
	fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fail("write", e.Path, err)
	}
	defer unix.Close(fd)
	if err = w.attributes(fd, e); err == nil {
		err = setTime(dir, name, e)
	}
	if err != nil {
		return fail("write", e.Path, err)
	}
	return nil
}

// attributes sets owner, mode and extended attributes of an open file or
// directory, in this order: each may take away the next.
func (w *dirFill) attributes(fd int, e *Entry) error {
	mode := e.Mode
	err := unix.Fchown(fd, int(e.UID), int(e.GID))
	if err := w.owned(err, e, func(st *unix.Stat_t) error {
		if err := unix.Fstat(fd, st); err != nil {
			return err
		}
		if e.Type == Regular && st.Uid != e.UID {
			mode &^= unix.S_ISUID
		}
		if e.Type == Regular && st.Gid != e.GID {
			mode &^= unix.S_ISGID
		}
		return nil
	}); err != nil {
		return err
	}
	if mode != e.Mode {
		w.omit(OmittedSetID, e)
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	omitted := false
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		err := setXattr(fd, name, e.Xattrs[name])
		if err != nil && !refused(err) {
			return fmt.Errorf("set extended attribute %q: %w", name, err)
		}
		omitted = omitted || err != nil
	}
	if omitted {
		w.omit(OmittedXattr, e)
	}
	return nil
}

// owned handles the result of setting e's owner. If that was refused, the owner may be right all
// the same.
func (w *dirFill) owned(err error, e *Entry, stat func(*unix.Stat_t) error) error {
	if !refused(err) {
		return err
	}
	var st unix.Stat_t
	if err := stat(&st); err != nil {
		return err
	}
	if st.Uid != e.UID || st.Gid != e.GID {
		w.omit(OmittedOwner, e)
	}
	return nil
}

// refused reports whether err means that the process or the file system cannot do something at
// all, whatever is there already.
func refused(err error) bool {
	// EINVAL is for owners that a user namespace does not have.
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, errors.ErrUnsupported)
}

// setTime sets the modification time, and the access time to the same.
func setTime(dir int, name string, e *Entry) error {
	t, err := unix.TimeToTimespec(time.Unix(e.ModTime, 0))
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}
