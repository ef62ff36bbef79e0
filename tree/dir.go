package tree

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/regfile"
)

// DirOptions are the options of FromDir.
type DirOptions struct {
	// Compare orders the names in one directory; nil orders them by their bytes, which is the
	// canonical order.
	Compare func(a, b string) int
	// Xattrs asks for the extended attributes that an Entry may carry.
	Xattrs bool
	// Store says that the tree is in a store path, with names as StoreName describes.
	Store bool
}

// FromDir reads the tree at root, whose first entry is "." with root's own type: root may be a
// directory, a regular file or a symlink, which is not followed. Owners are 0:0, whoever owns
// the files; modes, sizes and times are those on disk.
//
// Each directory is opened inside its parent and each file is looked at once, so that a
// directory swapped for a symlink meanwhile leads nowhere. Other goroutines look at files before it
// is their turn. FIFOs, sockets and devices are an
// error; they are never opened.
func FromDir(root string, opts DirOptions) Seq {
	return func(yield func(*Entry, error) bool) {
		w := &dirWalk{root: root, opts: opts, yield: yield}
		w.ahead.more.L = &w.ahead.mu
		if err := w.start(); err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// errStopped ends a walk whose receiver has stopped.
var errStopped = errors.New("stopped")

// dirWalk is the state of one FromDir. Its receiver's goroutine walks, and others look ahead.
type dirWalk struct {
	root  string
	opts  DirOptions
	yield func(*Entry, error) bool
	ahead lookAhead
}

// looker looks at files, in one goroutine.
type looker struct {
	*dirWalk
	attrs [256]byte // for the names of extended attributes
	stamps
}

// start yields the root and what is below it.
func (w *dirWalk) start() error {
	self := &looker{dirWalk: w, stamps: stamps{}}
	top := above(w.root)
	e, err := self.look(top, w.root, w.root, ".")
	if err != nil {
		return err
	}
	isDir := e.Type == Dir
	if !w.yield(e, nil) {
		return errStopped
	}
	if !isDir {
		return nil
	}
	defer w.ahead.stop()
	return self.walk(newDirTask(top, w.root, w.root, "."))
}

// walk yields what is in a directory and below it.
func (l *looker) walk(d *dirTask) error {
	l.await(d)
	if d.err != nil {
		return d.err
	}
	l.ahead.entered(d)
	for i, p := range d.parts {
		l.await(p)
		below := p.below
		for _, e := range p.entries {
			isDir := e.Type == Dir
			if !l.yield(e, nil) {
				return errStopped
			}
			if !isDir {
				continue
			}
			sub := below[0]
			below = below[1:]
			if err := l.walk(sub); err != nil {
				return err
			}
		}
		if p.err != nil {
			return p.err
		}
		l.ahead.passed(p)
		d.parts[i] = nil
	}
	l.ahead.left(d)
	return nil
}

// look returns the entry called name in the directory parent; source is its path on disk, rel its
// path in the tree.
func (l *looker) look(parent *directory, name, source, rel string) (*Entry, error) {
	var st unix.Stat_t
	if err := retryEINTR(func() error { return unix.Fstatat(parent.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return nil, fail("lstat", source, err)
	}
	return l.entry(parent, name, source, rel, &st)
}

func (l *looker) entry(parent *directory, name, source, rel string, st *unix.Stat_t) (*Entry, error) {
	e, content := newEntry(st)
	e.Path, e.Source = rel, source
	e.Mode = uint32(st.Mode) & 0o7777
	e.ModTime = int64(st.Mtim.Sec)
	e.Stamp = stampOf(st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = Dir
	case unix.S_IFREG:
		e.Type = Regular
		e.Size = st.Size
		e.Stamp = l.stamps.of(parent.fd, name, st)
		*content = diskFile{parent, name, st.Size, st.Mtim.Nano()}
		e.Content = content
	case unix.S_IFLNK:
		e.Type = Symlink
		e.Mode = 0o777
		target, err := readlinkAt(parent.fd, name)
		if err != nil {
			return nil, fail("read symlink", source, err)
		}
		e.Linkname = target
	default:
		return nil, fmt.Errorf("%q is a %s: only directories, regular files and symlinks can be copied", source, typeName(uint32(st.Mode)))
	}
	if l.opts.Xattrs && e.Type != Symlink {
		var err error
		if e.Xattrs, err = readXattrs(parent.fd, name, l.attrs[:]); err != nil {
			return nil, fail("read extended attributes of", source, err)
		}
	}
	return e, nil
}

// newEntry returns an empty entry, and for a regular file room for its Content, in one piece of
// memory: trees have millions of them.
func newEntry(st *unix.Stat_t) (*Entry, *diskFile) {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return new(Entry), nil
	}
	both := new(struct {
		Entry
		diskFile
	})
	return &both.Entry, &both.diskFile
}

// ReadError is the error of a source that cannot be read, as opposed to errors of writing.
type ReadError struct {
	// Path is the source's path on disk.
	Path string
	Err  error
}

func (e *ReadError) Error() string { return fmt.Sprintf("read %q: %v", e.Path, e.Err) }

func (e *ReadError) Unwrap() error { return e.Err }

func fail(verb, source string, err error) error {
	return fmt.Errorf("%s %q: %w", verb, source, err)
}

func readlinkAt(dir int, name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

func retryEINTR(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

func typeName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "FIFO"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "device"
	}
	return fmt.Sprintf("file of unknown type %#o", mode&unix.S_IFMT)
}

// CheckName refuses a path whose last component an image cannot hold.
func CheckName(name string) error {
	if deletes, ok := strings.CutPrefix(path.Base(name), WhiteoutPrefix); ok {
		return fmt.Errorf("%q is called like a whiteout: in an image it would delete %q instead of being there", name, deletes)
	}
	return nil
}

// Resolve follows the symlinks of a path that a user gave, so that FromDir gets the directory or
// file itself. A path that leads nowhere is an error.
func Resolve(name string) (string, error) {
	resolved, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", fmt.Errorf("%q: %w", name, regfile.Cause(err))
	}
	return path.Clean(resolved), nil
}
