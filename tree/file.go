package tree

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// diskFile is the Content of a regular file that FromDir found: where it is, and what it was
// then.
type diskFile struct {
	dir  *directory
	name string
	size int64
	// time is when its content was last changed, in nanoseconds since 1970.
	time int64
}

// Open opens the file. A large one is compared with what it was at once, a small one when it has
// been read.
func (d *diskFile) Open() (io.ReadCloser, error) {
	fd, err := d.dir.open(d.name)
	if err != nil {
		return nil, &ReadError{d.source(), err}
	}
	if d.size > SmallFile {
		if _, err := d.check(fd); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	return &File{fd: fd, file: d, left: d.size}, nil
}

func (d *diskFile) source() string { return d.dir.source(d.name) }

// check compares the open file with what it was, and returns its stamp. That is another one for a file
// that only looks the same: what a store that is being optimised puts in its place, or what was
// there for a moment.
func (d *diskFile) check(fd int) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Stamp{}, fmt.Errorf("stat %q: %w", d.source(), err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return Stamp{}, fmt.Errorf("%q changed while it was read: it is a %s now", d.source(), typeName(uint32(st.Mode)))
	case st.Size != d.size:
		return Stamp{}, fmt.Errorf("%q changed while it was read: it had %d bytes and has %d now", d.source(), d.size, st.Size)
	case st.Mtim.Nano() != d.time:
		return Stamp{}, fmt.Errorf("%q changed while it was read: it was written to", d.source())
	}
	return stampOf(&st), nil
}

// read reads from the open file, of which left bytes are left, into p, which is not empty. It is an
// error if there is nothing to read.
func (d *diskFile) read(fd int, p []byte, left int64) (n int, err error) {
	err = retryEINTR(func() (err error) {
		n, err = unix.Read(fd, p)
		return err
	})
	if err == nil && n > 0 {
		return n, nil
	}
	// What has become of the file says more.
	if _, err := d.check(fd); err != nil {
		return 0, err
	}
	if err != nil {
		return 0, &ReadError{d.source(), err}
	}
	return 0, d.ended(left)
}

func (d *diskFile) ended(left int64) error {
	return fmt.Errorf("%q changed while it was read: it ends %d bytes early", d.source(), left)
}

// StampOf returns the stamp of an open file.
func StampOf(f *os.File) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Stamp{}, fmt.Errorf("stat %q: %w", f.Name(), err)
	}
	return stampOfOpen(int(f.Fd()), &st), nil
}

// File is the content of a regular file on disk, as Entry.Open returns it for
// FromDir. It reads as many bytes as the file had when FromDir looked at it, and
// fails if the file has been changed since.
type File struct {
	fd   int
	file *diskFile
	left int64
	// found is the stamp that Check found.
	found Stamp
}

// Read reads from the file. At the end it checks that the file is unchanged.
func (f *File) Read(p []byte) (int, error) {
	if f.left == 0 {
		if err := f.Check(); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.file.read(f.fd, p[:min(int64(len(p)), f.left)], f.left)
	f.left -= int64(n)
	return n, err
}

// Fd returns the open file's descriptor, for the kernel to copy from. Advance
// must be called with what was taken.
func (f *File) Fd() int { return f.fd }

// Advance says that n bytes were read without Read; 0 means the end of the file.
func (f *File) Advance(n int64) error {
	if n <= 0 {
		return f.file.ended(f.left)
	}
	f.left -= n
	return nil
}

// Check returns an error if the file has been changed since FromDir looked at it.
func (f *File) Check() (err error) {
	f.found, err = f.file.check(f.fd)
	return err
}

// Is reports whether Check found the file that the stamp speaks for, rather than another one with the
// same size and time.
func (f *File) Is(s Stamp) bool { return s.speaksFor(f.found) }

// Close closes the file.
func (f *File) Close() error {
	if f.fd < 0 {
		return errors.New("already closed")
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return err
}
