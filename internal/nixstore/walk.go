package nixstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/nixstore/nar"
	"github.com/varve-image/varve/tree"
)

const (
	// bufferSize is how many bytes of a file are held at once.
	bufferSize = 1 << 20
	// maxDepth limits the nesting of directories, each of which holds a file
	// descriptor while it is read.
	maxDepth = 1000
	// maxLink limits a symlink's target, in bytes; systems allow 4095 at most.
	maxLink = 4096
)

var errChanged = errors.New("it changed while it was read")

// walker reads store paths one after the other.
type walker struct {
	scanner *Scanner
	// nar makes the path's archive, of which only the size is kept, and the sum,
	// unless that is nil.
	nar *nar.Writer
	sum digest.Digester
	buf []byte
}

// newWalker returns a walker that looks for the hashes in table.
func newWalker(table *hashTable) *walker {
	return &walker{scanner: newTableScanner(table), nar: nar.NewWriter(io.Discard), buf: make([]byte, bufferSize)}
}

// archive starts the archive of another path, with a sum if that is wanted.
func (w *walker) archive(sum bool) {
	w.sum = nil
	w.nar = nar.NewWriter(io.Discard)
	if sum {
		w.sum = digest.SHA256.Digester()
		w.nar = nar.NewWriter(w.sum.Hash())
	}
	w.nar.Begin()
}

// place is where a file is: its name in an open directory, and its full name for
// messages.
type place struct {
	dir   int
	name  string
	full  string
	depth int
}

func (p place) errorf(err error) error { return fmt.Errorf("read %q: %w", p.full, err) }

// node shows the scanner what is at p and below, and adds it to the archive.
func (w *walker) node(ctx context.Context, p place) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(p.dir, p.name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return p.errorf(err)
	}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
		return w.file(ctx, p, &st)
	case unix.S_IFLNK:
		return w.symlink(p)
	case unix.S_IFDIR:
		return w.directory(ctx, p, &st)
	case unix.S_IFIFO:
		err = errors.New("a FIFO cannot be part of a store path")
	case unix.S_IFSOCK:
		err = errors.New("a socket cannot be part of a store path")
	default:
		err = errors.New("a device cannot be part of a store path")
	}
	return p.errorf(err)
}

func (w *walker) file(ctx context.Context, p place, st *unix.Stat_t) error {
	// Non-blocking, in case a FIFO has taken the file's place.
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := openat(p.dir, p.name, flags)
	if err != nil {
		return p.errorf(err)
	}
	defer unix.Close(fd)
	if err := unchanged(fd, st); err != nil {
		return p.errorf(err)
	}
	w.nar.Regular(uint64(st.Size), st.Mode&unix.S_IXUSR != 0)
	for left := st.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := read(fd, w.buf[:min(left, bufferSize)])
		if err == nil && n == 0 {
			err = errChanged
		}
		if err != nil {
			return p.errorf(err)
		}
		w.scanner.look(w.buf[:n])
		_, _ = w.nar.Write(w.buf[:n]) // a hash never fails
		left -= int64(n)
	}
	w.scanner.Next()
	w.nar.EndRegular(uint64(st.Size))
	if err := unchanged(fd, st); err != nil {
		return p.errorf(err)
	}
	return nil
}

func (w *walker) symlink(p place) error {
	var n int
	buf := w.buf[:maxLink+1]
	err := retry(func() (err error) {
		n, err = unix.Readlinkat(p.dir, p.name, buf)
		return err
	})
	if errors.Is(err, unix.EINVAL) {
		err = errChanged
	}
	if err == nil && n > maxLink {
		err = fmt.Errorf("the symlink's text is longer than %d bytes", maxLink)
	}
	if err != nil {
		return p.errorf(err)
	}
	w.scanner.look(buf[:n])
	w.scanner.Next()
	w.nar.Symlink(string(buf[:n]))
	return nil
}

func (w *walker) directory(ctx context.Context, p place, st *unix.Stat_t) error {
	if p.depth == maxDepth {
		return p.errorf(fmt.Errorf("directories are nested deeper than %d", maxDepth))
	}
	d, err := openDir(p.dir, p.name, p.full, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer d.Close()
	fd := int(d.Fd())
	if err := unchanged(fd, st); err != nil {
		return p.errorf(err)
	}
	names, err := d.Readdirnames(-1)
	if err != nil {
		return p.errorf(err)
	}
	// In order, as the archive has them.
	if err := tree.SortStoreNames(names, strings.Compare); err != nil {
		return p.errorf(err)
	}
	w.nar.Directory()
	for _, name := range names {
		shown := tree.StoreName(name)
		w.scanner.look([]byte(shown))
		w.scanner.Next()
		w.nar.Entry(shown)
		if err := w.node(ctx, place{dir: fd, name: name, full: p.full + "/" + name, depth: p.depth + 1}); err != nil {
			return err
		}
		w.nar.EndEntry()
	}
	w.nar.EndDirectory()
	if err := unchanged(fd, st); err != nil {
		return p.errorf(err)
	}
	return nil
}

// unchanged checks that fd is the file that st describes, with the same content.
func unchanged(fd int, st *unix.Stat_t) error {
	var now unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &now) }); err != nil {
		return err
	}
	if now.Dev != st.Dev || now.Ino != st.Ino || now.Mode != st.Mode || now.Size != st.Size || now.Mtim != st.Mtim {
		return errChanged
	}
	return nil
}

// openDir opens the directory that dir holds as name; full is for messages.
func openDir(dir int, name, full string, flags int) (*os.File, error) {
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flags)
	if err != nil {
		if flags&unix.O_NOFOLLOW != 0 && (errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR)) {
			err = fmt.Errorf("it is not a directory, or a symlink where none may be: %w", err)
		}
		return nil, fmt.Errorf("open directory %q: %w", full, err)
	}
	return os.NewFile(uintptr(fd), full), nil
}

func openat(dir int, name string, flags int) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, flags, 0)
		return err
	})
	return fd, err
}

func read(fd int, p []byte) (n int, err error) {
	err = retry(func() (err error) {
		n, err = unix.Read(fd, p)
		return err
	})
	return n, err
}

// retry calls f again as long as a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
