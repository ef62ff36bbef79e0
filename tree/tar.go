package tree

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/regfile"
)

// TarOptions are the options of OpenTar.
type TarOptions struct {
	// TempDir is where a compressed tarball is decompressed into a file without a name; it
	// defaults to the system's directory for such files.
	TempDir string
	// MaxBytes limits the tarball, decompressed, and the expanded size of all sparse files
	// together; it defaults to 64 GiB.
	MaxBytes int64
	// MaxEntries limits the entries, implied directories included; it defaults to ten million.
	MaxEntries int
}

const (
	defaultMaxBytes   = 64 << 30
	defaultMaxEntries = 10_000_000
)

// ErrNotTar is the error of OpenTar for a file that does not begin like a tar.
var ErrNotTar = errors.New("not a tar archive")

// Tar is an open tarball.
type Tar struct {
	// Entries is its tree in canonical order, with the tarball's owners, modes and times, but
	// without owner names. Regular files can be opened until Close.
	Entries []*Entry

	name  string
	file  *os.File
	stamp Stamp
	// verify returns an error if file is not what was indexed any more.
	verify func() error
}

// OpenTar reads the tarball at path, plain or compressed with gzip, zstd, bzip2 or xz (by its
// first bytes, not its name). The contents of a plain one are read from it on demand; a
// compressed one is decompressed once, into a temporary file that has no name and is gone when
// Close is called or the process ends.
//
// Names are normalised: "./x", "/x", "x/" and "a//b" are "x" and "a/b". A later entry replaces
// an earlier one of the same name; a directory given again changes its attributes. A hard link
// becomes a file of its own with the content and attributes that its target has at that point, and
// the same Inode.
// Sparse files are expanded. Devices and FIFOs are entries like others. Extended attributes are
// those that Entry may carry. A PAX global header that does not describe files is ignored.
//
// Refused, with the entry's name: "..", names that no file system accepts, an entry below a
// symlink or another non-directory, a directory that is something else elsewhere in the tarball,
// what other readers of tars interpret differently, hard links to what is not a file seen
// before, whiteouts (".wh." names and 0:0 character devices: they delete, which only makes sense
// in an image's layer), ids out of range, times outside the years 1970 to 9999, malformed
// capabilities. The tarball itself must be whole: two blocks of zeros at the end, and nothing
// but zeros after them.
func OpenTar(ctx context.Context, path string, opts TarOptions) (*Tar, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	if opts.MaxEntries <= 0 {
		opts.MaxEntries = defaultMaxEntries
	}
	t := &Tar{name: path}
	if err := t.open(path); err != nil {
		return nil, fmt.Errorf("read tarball %q: %w", path, err)
	}
	if err := t.read(ctx, opts); err != nil {
		t.file.Close()
		return nil, fmt.Errorf("read tarball %q: %w", path, err)
	}
	if len(t.Entries) == 0 { // a tree has at least a root
		t.Entries = []*Entry{impliedDir(".", 0, path)}
	}
	return t, nil
}

// Close makes the entries' contents unavailable.
func (t *Tar) Close() error { return t.file.Close() }

// open opens the file at path if it is a regular one, without blocking.
func (t *Tar) open(path string) error {
	f, err := regfile.Open(path)
	if err != nil {
		return regfile.Cause(err)
	}
	var st unix.Stat_t
	if err := fstat(f, &st); err != nil {
		f.Close()
		return err
	}
	t.file, t.stamp = f, stampOfOpen(int(f.Fd()), &st)
	t.verify = func() error {
		var now unix.Stat_t
		if err := fstat(f, &now); err != nil {
			return err
		}
		if now.Size != st.Size || now.Mtim != st.Mtim {
			return errors.New("it changed while it was read")
		}
		return nil
	}
	return nil
}

func fstat(f *os.File, st *unix.Stat_t) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return regfile.Cause(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = retryEINTR(func() error { return unix.Fstat(int(fd), st) })
	})
	if err != nil {
		return regfile.Cause(err)
	}
	return failed
}

func (t *Tar) read(ctx context.Context, opts TarOptions) error {
	start := make([]byte, 512)
	n, err := io.ReadFull(t.file, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return regfile.Cause(err)
	}
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return regfile.Cause(err)
	}
	stream, err := decompressor(start[:n], t.file)
	if err != nil {
		return err
	}
	if stream == nil {
		if end, err := t.file.Seek(0, io.SeekEnd); err != nil || end > opts.MaxBytes {
			return cmp.Or(err, error(&LimitError{fmt.Sprintf("it has more than %d bytes", opts.MaxBytes), LimitBytes}))
		}
		if _, err := t.file.Seek(0, io.SeekStart); err != nil {
			return regfile.Cause(err)
		}
		src := &tarSource{ctx: ctx, r: bufio.NewReaderSize(t.file, 64<<10), seek: t.file}
		if err := t.index(src, opts); err != nil {
			return err
		}
		return t.verify()
	}
	defer stream.Close()
	return t.decompress(ctx, stream, opts)
}

// decompress indexes the decompressed tarball while it writes it to a temporary file, which then
// replaces t.file.
func (t *Tar) decompress(ctx context.Context, stream io.Reader, opts TarOptions) error {
	temp, err := atomicfile.Unnamed(opts.TempDir)
	if err != nil {
		return fmt.Errorf("make a temporary file to decompress into: %w", err)
	}
	compressed, check := t.file, t.verify
	defer compressed.Close()
	// From here on t.file belongs to OpenTar, which closes it on an error.
	t.file, t.verify = temp, func() error { return nil }

	out := bufio.NewWriterSize(temp, 256<<10)
	limited := &limitReader{r: stream, limit: &budget{}}
	limited.limit.set(opts.MaxBytes)
	src := &tarSource{ctx: ctx, r: bufio.NewReaderSize(io.TeeReader(limited, out), 64<<10)}
	if err := t.index(src, opts); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	return check()
}

// decompressor returns a reader of what r decompresses to, or nil if its first bytes do not say
// that it is compressed.
func decompressor(start []byte, r io.Reader) (io.ReadCloser, error) {
	if compress.Detect(start) != compress.None {
		z, _, err := compress.NewReader(r)
		return z, err
	}
	for _, other := range []struct{ magic, name, command string }{
		{"LZIP", "lzip", "lzip -d"},
		{"\x04\x22\x4d\x18", "lz4", "lz4 -d"},
		{"\x1f\x9d", "compress", "uncompress"},
	} {
		if bytes.HasPrefix(start, []byte(other.magic)) && !looksLikeTar(start) {
			return nil, fmt.Errorf("it is compressed with %s, which is not read here: decompress it first (%s)", other.name, other.command)
		}
	}
	return nil, nil
}

// looksLikeTar reports whether start is a tar's, even if its first name begins like another
// format.
func looksLikeTar(start []byte) bool {
	_, err := tar.NewReader(bytes.NewReader(start)).Next()
	return err == nil
}

// limitReader fails, where io.LimitReader would end, once more than the budget is read.
type limitReader struct {
	r     io.Reader
	limit *budget
}

func (l *limitReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if !l.limit.take(int64(n)) {
		return 0, &LimitError{fmt.Sprintf("it decompresses to more than %d bytes", l.limit.max), LimitBytes}
	}
	return n, err
}

// tarSource is the reader for archive/tar. It knows its position and skips by seeking where it
// can.
type tarSource struct {
	ctx  context.Context
	r    *bufio.Reader
	seek io.Seeker // what r reads from, if that can seek
	pos  int64
	raw  *rawHeaders // sees what is read; may be nil
}

func (s *tarSource) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if s.raw != nil {
		s.raw.see(s.pos, p[:n])
	}
	s.pos += int64(n)
	return n, err
}

// Seek moves forward from the current position, which is all that archive/tar needs.
func (s *tarSource) Seek(offset int64, whence int) (int64, error) {
	if s.seek == nil || whence != io.SeekCurrent || offset < 0 {
		return 0, errors.ErrUnsupported
	}
	if offset <= int64(s.r.Buffered()) {
		if _, err := s.r.Discard(int(offset)); err != nil {
			return 0, err
		}
	} else {
		if _, err := s.seek.Seek(s.pos+offset, io.SeekStart); err != nil {
			return 0, io.ErrUnexpectedEOF // no file is as long as that
		}
		s.r.Reset(s.seek.(io.Reader))
	}
	s.pos += offset
	return s.pos, nil
}

// tarContent is the content of one regular file of a tarball.
type tarContent struct {
	tar  *Tar
	name string // of the entry
	r    io.Reader
	left int64
}

func (c *tarContent) Read(p []byte) (int, error) {
	if c.left == 0 {
		if err := c.tar.verify(); err != nil {
			return 0, c.fail(err)
		}
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	switch {
	case err == io.EOF && c.left > 0:
		return n, c.fail(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		return n, c.fail(regfile.Cause(err))
	}
	return n, nil
}

func (c *tarContent) fail(err error) error {
	return fmt.Errorf("read %q in tarball %q: %w", c.name, c.tar.name, err)
}

// Close does nothing: the file is the Tar's.
func (c *tarContent) Close() error { return nil }

// opener returns a function that opens the size bytes at offset of the tarball.
func (t *Tar) opener(name string, offset, size int64) OpenFunc {
	return func() (io.ReadCloser, error) {
		return &tarContent{t, name, io.NewSectionReader(t.file, offset, size), size}, nil
	}
}

// sparseOpener returns a function that opens the sparse file of size bytes whose headers start
// at offset, by reading them again.
func (t *Tar) sparseOpener(name string, offset, size int64) OpenFunc {
	return func() (io.ReadCloser, error) {
		const toTheEnd = 1<<63 - 1
		r := tar.NewReader(bufio.NewReader(io.NewSectionReader(t.file, offset, toTheEnd-offset)))
		c := &tarContent{t, name, r, size}
		hdr, err := nextHeader(r)
		if err != nil {
			return nil, c.fail(regfile.Cause(err))
		}
		if hdr.Size != size {
			return nil, c.fail(errors.New("it changed while it was read"))
		}
		return c, nil
	}
}
