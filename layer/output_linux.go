package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/varve-image/varve/tree"
	"golang.org/x/sys/unix"
)

// kernelChunk is how much the kernel copies between two looks at the context.
const kernelChunk = 16 << 20

// newFileOutput returns an output to w, which writes to f, that has the kernel copy
// into pipes (splice) and regular files (copy_file_range) and reports how much.
func newFileOutput(w io.Writer, f *os.File, copied func(int64)) output {
	var st unix.Stat_t
	fd := int(f.Fd())
	if err := unix.Fstat(fd, &st); err != nil {
		return writerOutput{w}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		// A larger pipe means fewer switches between its two ends. Failure is
		// ignored: an ordinary user may be over the limit.
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, bufferSize)
		return &fileOutput{writerOutput{w}, f, true, copied, func(in int, at *int64, n int) (int64, error) {
			return unix.Splice(in, at, fd, nil, n, unix.SPLICE_F_MORE)
		}}
	case unix.S_IFREG:
		return &fileOutput{writerOutput{w}, f, false, copied, func(in int, at *int64, n int) (int64, error) {
			n, err := unix.CopyFileRange(in, at, fd, nil, n, 0)
			return int64(n), err
		}}
	}
	return writerOutput{w}
}

// fileOutput writes to a file that the kernel can copy to.
type fileOutput struct {
	writerOutput
	file   *os.File
	pipe   bool
	copied func(n int64)
	// copy copies up to n bytes of a file, from where at says, or else from where it is read.
	copy func(in int, at *int64, n int) (int64, error)
}

func (o *fileOutput) copyFile(ctx context.Context, f *tree.File, size int64) (int64, error) {
	return o.copyFrom(ctx, f.Fd(), nil, size, f.Advance)
}

// copySection leaves a pipe alone: what is spliced into one stays the file's until it is read, and an
// archive, unlike a store path, may be written to after it was checked.
func (o *fileOutput) copySection(ctx context.Context, s *Section) (int64, error) {
	if o.pipe {
		return 0, nil
	}
	at := s.Stamp.Offset
	return o.copyFrom(ctx, int(s.File.Fd()), &at, s.Size, func(n int64) error {
		if n <= 0 {
			return fmt.Errorf("%q ends early", s.File.Name())
		}
		return nil
	})
}

// copyFrom copies size bytes of a file, and tells advance how many each time; 0 is the file's end.
func (o *fileOutput) copyFrom(ctx context.Context, in int, at *int64, size int64, advance func(int64) error) (int64, error) {
	var done int64
	for done < size {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		n, err := o.copy(in, at, int(min(size-done, kernelChunk)))
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN: // a pipe that somebody made non-blocking
			if err := waitWritable(int(o.file.Fd())); err != nil {
				return done, err
			}
			continue
		case done == 0 && cannotCopy(err):
			return 0, nil
		case err == unix.EPIPE: // a write says the same, in the words of whoever made the writer
			return done, nil
		case err != nil:
			return done, err
		}
		if err := advance(n); err != nil {
			return done, err
		}
		o.copied(n)
		done += n
	}
	return done, nil
}

// cannotCopy reports whether the kernel cannot copy between these two files:
// across file systems, on a file system that does not know how, or opened to
// append.
func cannotCopy(err error) bool {
	for _, e := range []error{unix.EINVAL, unix.EXDEV, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM, unix.EBADF, unix.ETXTBSY} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func waitWritable(fd int) error {
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
	if err == unix.EINTR {
		return nil
	}
	return err
}
