package nar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/tree"
)

// maxEntries limits the files of an archive that is read as a tree, and maxText
// their paths and links, in bytes: a few bytes of an archive can stand for a path
// of thousands.
const (
	maxEntries = 10_000_000
	maxText    = 256 << 20
)

// File is an archive in a file, as a tree.
type File struct {
	// Entries are in canonical order. Modes are those that Nix gives to unpacked
	// files: 0755 for directories and executable files, 0644 for others. Owners are
	// 0:0 and times 1. Contents can be opened until Close.
	Entries []*tree.Entry

	file *os.File
	stat unix.Stat_t
}

// Open reads the archive in the file name, except the contents of its files. The
// file must not change until Close.
func Open(ctx context.Context, name string) (*File, error) {
	f, err := regfile.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, regfile.Cause(err))
	}
	a := &File{file: f}
	if err = unix.Fstat(int(f.Fd()), &a.stat); err == nil {
		err = a.index(ctx, maxText)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	return a, nil
}

// Close ends the use of the entries' contents.
func (a *File) Close() error { return a.file.Close() }

// index reads the archive; most limits the total size of its paths and links, in bytes.
func (a *File) index(ctx context.Context, most int) error {
	r := NewReader(a.file)
	text := 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(a.Entries) == maxEntries {
			return fmt.Errorf("it has more than %d files", maxEntries)
		}
		if text += len(h.Path) + len(h.Target); text > most {
			return fmt.Errorf("at %.300q: paths and links of more than %d MiB", h.Path, most>>20)
		}
		if err := tree.CheckName(h.Path); err != nil {
			return err
		}
		a.Entries = append(a.Entries, a.entry(h))
	}
}

func (a *File) entry(h Header) *tree.Entry {
	e := &tree.Entry{Path: h.Path, ModTime: 1, Source: a.file.Name()}
	switch h.Type {
	case Directory:
		e.Type, e.Mode = tree.Dir, 0o755
	case Symlink:
		e.Type, e.Mode, e.Linkname = tree.Symlink, 0o777, h.Target
	case Regular:
		e.Type, e.Mode, e.Size = tree.Regular, 0o644, h.Size
		if h.Executable {
			e.Mode = 0o755
		}
		offset, size := h.Offset, h.Size
		e.Content = tree.OpenFunc(func() (io.ReadCloser, error) { return a.open(offset, size) })
	}
	return e
}

// open opens a file's content, given its offset in the archive and its length.
func (a *File) open(offset, size int64) (io.ReadCloser, error) {
	var now unix.Stat_t // for a million files: os.FileInfo would be garbage
	err := unix.Fstat(int(a.file.Fd()), &now)
	if err == nil && (now.Size != a.stat.Size || now.Mtim != a.stat.Mtim) {
		err = errors.New("it changed while it was read")
	}
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", a.file.Name(), err)
	}
	return io.NopCloser(io.NewSectionReader(a.file, offset, size)), nil
}
