package tree

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
// directory swapped for a symlink meanwhile leads nowhere. FIFOs, sockets and devices are an
// error; they are never opened.
func FromDir(root string, opts DirOptions) Seq {
	return func(yield func(*Entry, error) bool) {
		w := &dirWalk{root: root, opts: opts, yield: yield}
		if opts.Compare == nil {
			w.opts.Compare = strings.Compare
		}
		if err := w.visit(&openDir{fd: unix.AT_FDCWD}, root, root, "."); err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// errStopped ends a walk whose receiver has stopped.
var errStopped = errors.New("stopped")

// openDir is a directory that a walk is in.
type openDir struct {
	fd   int
	file *os.File

	mu   sync.RWMutex // held to open something in it, or to close it
	left bool
}

// errLeft says that the walk has left the directory.
var errLeft = errors.New("left")

// open opens a file in the directory; errLeft says that it is closed.
func (d *openDir) open(name string) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.left {
		return -1, errLeft
	}
	return openAt(d.fd, name, openFile)
}

func (d *openDir) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = true
	// Nothing was written that closing could lose.
	_ = d.file.Close()
}

type dirWalk struct {
	root  string
	opts  DirOptions
	yield func(*Entry, error) bool
}

// visit yields the entry called name in the directory parent, and what is
// below it; source is its path on disk, rel its path in the tree.
func (w *dirWalk) visit(parent *openDir, name, source, rel string) error {
	var st unix.Stat_t
	if err := retryEINTR(func() error { return unix.Fstatat(parent.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return fail("lstat", source, err)
	}
	e, err := w.entry(parent, name, source, rel, &st)
	if err != nil {
		return err
	}
	if !w.yield(e, nil) {
		return errStopped
	}
	if e.Type != Dir {
		return nil
	}
	return w.children(parent, name, source, rel)
}

func (w *dirWalk) children(parent *openDir, name, source, rel string) error {
	fd, err := openAt(parent.fd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return &ReadError{source, err}
	}
	dir := &openDir{fd: fd, file: os.NewFile(uintptr(fd), name)}
	defer dir.close()
	names, err := dir.file.Readdirnames(-1)
	if err != nil {
		return &ReadError{source, err}
	}
	if !w.opts.Store {
		slices.SortFunc(names, w.opts.Compare)
	} else if err := SortStoreNames(names, w.opts.Compare); err != nil {
		return fmt.Errorf("%q: %w", source, err)
	}
	for _, name := range names {
		below, shown := source+"/"+name, name
		if w.opts.Store {
			shown = StoreName(name)
		}
		if err := CheckName(below); err != nil {
			return err
		}
		if err := w.visit(dir, name, below, path.Join(rel, shown)); err != nil {
			return err
		}
	}
	return nil
}

func (w *dirWalk) entry(parent *openDir, name, source, rel string, st *unix.Stat_t) (*Entry, error) {
	e := &Entry{
		Path:    rel,
		Mode:    uint32(st.Mode) & 0o7777,
		ModTime: int64(st.Mtim.Sec),
		Stamp:   stampOf(st),
		Source:  source,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = Dir
	case unix.S_IFREG:
		e.Type = Regular
		e.Size = st.Size
		e.Open = w.opener(parent, name, source, stateOf(st))
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
	if w.opts.Xattrs && e.Type != Symlink {
		var err error
		if e.Xattrs, err = readXattrs(parent.fd, name); err != nil {
			return nil, fail("read extended attributes of", source, err)
		}
	}
	return e, nil
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

// opener returns a function that opens the file at source, below the root through directories
// only. While the walk is in the file's directory, the file is opened from there.
func (w *dirWalk) opener(parent *openDir, name, source string, want fileState) func() (io.ReadCloser, error) {
	root := w.root
	rel := "."
	if source != root {
		rel = source[len(root)+1:]
	}
	return func() (io.ReadCloser, error) {
		fd, err := parent.open(name)
		if err == errLeft {
			fd, err = openBelow(root, rel)
		}
		if err != nil {
			return nil, &ReadError{source, err}
		}
		f := &File{fd: fd, name: source, left: want.size, want: want}
		if err := f.check(); err != nil {
			unix.Close(fd)
			return nil, err
		}
		return f, nil
	}
}

// openFile opens files without waiting, should one be a FIFO by now.
const openFile = unix.O_RDONLY | unix.O_NONBLOCK

// openBelow opens the file at rel below the directory root without following
// a symlink on the way and without waiting for anything.
func openBelow(root, rel string) (int, error) {
	if rel == "." {
		return openAt(unix.AT_FDCWD, root, openFile)
	}
	dir, err := openAt(unix.AT_FDCWD, root, openPath|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	return openInside(dir, rel, openFile)
}

// openInside is openBelow for an open directory.
func openInside(root int, rel string, flags int) (int, error) {
	fd, err := openBeneath(root, rel, flags)
	if errors.Is(err, errors.ErrUnsupported) {
		return openStepwise(root, rel, flags)
	}
	return fd, err
}

// openStepwise is openInside, one directory after the other.
func openStepwise(root int, rel string, flags int) (int, error) {
	for dir := root; ; {
		first, rest, more := strings.Cut(rel, "/")
		next := flags
		if more {
			next = openPath | unix.O_DIRECTORY
		}
		fd, err := openAt(dir, first, next)
		if dir != root {
			unix.Close(dir)
		}
		if err != nil || !more {
			return fd, err
		}
		dir, rel = fd, rest
	}
}

func openAt(dir int, name string, flags int) (fd int, err error) {
	err = retryEINTR(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
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
