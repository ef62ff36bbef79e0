package tree

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// File is the content of a regular file on disk, as Entry.Open returns it for
// FromDir. It reads as many bytes as the file had when FromDir looked at it, and
// fails if the file has been changed since.
type File struct {
	fd   int
	name string
	left int64
	want fileState
}

// fileState distinguishes a file that was written to from one that was not.
type fileState struct {
	size, sec, nsec int64
}

// stampOf returns the stamp of a file on disk.
func stampOf(st *unix.Stat_t) Stamp {
	return Stamp{Device: uint64(st.Dev), Inode: st.Ino, Change: changeTime(st), ModTime: st.Mtim.Nano()}
}

func stateOf(st *unix.Stat_t) fileState {
	return fileState{st.Size, int64(st.Mtim.Sec), int64(st.Mtim.Nsec)}
}

// Read reads from the file. At the end it checks that the file is unchanged.
func (f *File) Read(p []byte) (int, error) {
	if f.left == 0 {
		if err := f.check(); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	if int64(len(p)) > f.left {
		p = p[:f.left]
	}
	var n int
	err := retryEINTR(func() (err error) {
		n, err = unix.Read(f.fd, p)
		return err
	})
	if err != nil {
		return 0, &ReadError{f.name, err}
	}
	return n, f.Advance(int64(n))
}

// Fd returns the open file's descriptor, for the kernel to copy from. Advance
// must be called with what was taken.
func (f *File) Fd() int { return f.fd }

// Advance says that n bytes were read without Read; 0 means the end of the file.
func (f *File) Advance(n int64) error {
	if n <= 0 {
		return fmt.Errorf("%q changed while it was read: it ends %d bytes early", f.name, f.left)
	}
	f.left -= n
	return nil
}

func (f *File) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return fmt.Errorf("stat %q: %w", f.name, err)
	}
	switch got := stateOf(&st); {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%q changed while it was read: it is a %s now", f.name, typeName(uint32(st.Mode)))
	case got.size != f.want.size:
		return fmt.Errorf("%q changed while it was read: it had %d bytes and has %d now", f.name, f.want.size, got.size)
	case got != f.want:
		return fmt.Errorf("%q changed while it was read: it was written to", f.name)
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error {
	if f.fd < 0 {
		return errors.New("already closed")
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return err
}
