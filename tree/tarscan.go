package tree

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"

	"github.com/varve-image/varve/internal/problems"
)

const (
	tarBlock = 512
	// maxPath and maxName are PATH_MAX less its NUL, and NAME_MAX.
	maxPath = 4095
	maxName = 255
	// textPerEntry is how many bytes of names, link targets and attributes each allowed entry
	// adds to the limit for all of them, which starts at lessText and never exceeds maxText.
	textPerEntry = 256
	lessText     = 16 << 20
	maxText      = 1 << 30
	// maxTime is the end of the year 9999.
	maxTime = 253402300799
)

// budget is how much of something may still come. Several goroutines may take from it.
type budget struct {
	max  int64
	left atomic.Int64
}

func (b *budget) set(max int64) {
	b.max = max
	b.left.Store(max)
}

// take takes n and reports whether that much was left.
func (b *budget) take(n int64) bool {
	return n <= b.max && b.left.Add(-n) >= 0
}

// used returns how much was taken.
func (b *budget) used() int64 { return b.max - b.left.Load() }

// limits are the limits of one tar, or of several together.
type limits struct {
	// bytes limits what sparse files expand to; entries and text limit what is kept in memory.
	bytes, entries, text budget
}

func newLimits(maxBytes int64, maxEntries int) *limits {
	l := &limits{}
	l.bytes.set(maxBytes)
	l.entries.set(int64(maxEntries))
	l.text.set(maxText)
	if maxEntries < (maxText-lessText)/textPerEntry {
		l.text.set(lessText + int64(maxEntries)*textPerEntry)
	}
	return l
}

// LimitError says that input exceeds a limit.
type LimitError struct {
	Reason string
	Limit  Limit
}

func (e *LimitError) Error() string { return e.Reason }

// Limit is one of the limits of input.
type Limit int

const (
	// LimitBytes limits what is unpacked; options set it.
	LimitBytes Limit = iota
	// LimitEntries limits how many entries there are, and how long their names and attributes
	// are on average; options set it.
	LimitEntries
	// LimitText limits all names and attributes together; it is fixed.
	LimitText
)

func (l *limits) tooMany() error {
	return &LimitError{fmt.Sprintf("there are more than %d entries", l.entries.max), LimitEntries}
}

// takeText takes n bytes for names, link targets and attributes.
func (l *limits) takeText(n int) error {
	switch {
	case l.text.take(int64(n)):
		return nil
	case l.text.max == maxText:
		return &LimitError{fmt.Sprintf("names, link targets and attributes are larger than %d bytes", maxText), LimitText}
	}
	return &LimitError{fmt.Sprintf("names, link targets and attributes are larger than %d bytes, which is for %d entries", l.text.max, l.entries.max), LimitEntries}
}

// tarScan reads the headers of a tar.
type tarScan struct {
	src    *tarSource
	limits *limits
	// body, where it is set, is given the content of each file.
	body io.Writer
	buf  []byte
	bad  problems.List
	raw  rawHeaders
	// lenient accepts any end of the archive, as container engines do.
	lenient bool
}

// scan calls add for each header, global ones too, with the offsets where its headers start and
// where its content ends, padding included. The errors that add returns for entries are reported
// together; after any other error the rest of the tar means nothing.
func (x *tarScan) scan(add func(hdr *tar.Header, start, end int64) error) error {
	r := tar.NewReader(x.src)
	x.src.raw = &x.raw
	last := "" // the previous entry, for messages
	end := int64(0)
	for {
		start := end
		x.raw.begin(start)
		hdr, err := nextHeader(r)
		if err == io.EOF {
			if err := x.finish(end, last); err != nil {
				return err
			}
			return x.bad.Err()
		}
		if err != nil {
			return scanError(err, last, start)
		}
		last = brief(hdr.Name)
		twoWays := cmp.Or(x.raw.check(hdr, x.src.pos), CheckTarHeader(hdr))
		if end, err = x.skip(r, hdr); err != nil {
			return err
		}
		if err := x.count(hdr); err != nil {
			return err
		}
		if err := cmp.Or(twoWays, add(hdr, start, end)); err != nil {
			x.bad.Addf("entry %q: %w", brief(hdr.Name), err)
		}
	}
}

// count takes what is kept of a header from the limits.
func (x *tarScan) count(hdr *tar.Header) error {
	if !x.limits.entries.take(1) {
		return x.limits.tooMany()
	}
	text := len(hdr.Name) + len(hdr.Linkname)
	for key, value := range hdr.PAXRecords {
		if strings.HasPrefix(key, XattrRecord) {
			text += len(key) + len(value)
		}
	}
	return x.limits.takeText(text)
}

// nextHeader is r.Next without the effect of GODEBUG on insecure paths: names are checked here.
func nextHeader(r *tar.Reader) (*tar.Header, error) {
	hdr, err := r.Next()
	if errors.Is(err, tar.ErrInsecurePath) {
		err = nil
	}
	return hdr, err
}

func scanError(err error, last string, start int64) error {
	if start == 0 && (errors.Is(err, tar.ErrHeader) || err == io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w (%w)", ErrNotTar, err)
	}
	if last != "" {
		return fmt.Errorf("after entry %q: %w", last, err)
	}
	return err
}

// skip returns where the content of the entry that was just read ends, its padding included.
// Content of a sparse file is read through: the header does not say how much of it is in the
// tarball.
func (x *tarScan) skip(r *tar.Reader, hdr *tar.Header) (int64, error) {
	if !hasContent(hdr.Typeflag) {
		return roundUp(x.src.pos), nil
	}
	switch {
	case isSparse(hdr):
		if !x.limits.bytes.take(hdr.Size) {
			return 0, &LimitError{fmt.Sprintf("entry %q: sparse files expand to more than %d bytes", brief(hdr.Name), x.limits.bytes.max), LimitBytes}
		}
	case hdr.Size > math.MaxInt64-x.src.pos-tarBlock:
		return 0, fmt.Errorf("entry %q: its size of %d bytes is not possible", brief(hdr.Name), hdr.Size)
	case x.body == nil:
		return roundUp(x.src.pos + hdr.Size), nil
	}
	var body io.Writer = io.Discard
	if x.body != nil {
		body = x.body
	}
	if x.buf == nil {
		x.buf = make([]byte, 64<<10)
	}
	// The struct hides that io.Discard has its own buffer.
	n, err := io.CopyBuffer(struct{ io.Writer }{body}, r, x.buf)
	if err == nil && n != hdr.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, fmt.Errorf("entry %q: %w", brief(hdr.Name), err)
	}
	return roundUp(x.src.pos), nil
}

func isSparse(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	if hdr.Typeflag != tar.TypeReg {
		return false
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// hasContent reports whether entries of a type flag have content; archive/tar skips that of all
// others.
func hasContent(flag byte) bool {
	switch flag {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo, tar.TypeXGlobalHeader:
		return false
	}
	return true
}

func roundUp(n int64) int64 { return (n + tarBlock - 1) / tarBlock * tarBlock }

// finish checks what comes after the last entry, which ended at end: archive/tar takes any end
// of the file at the end of a block for the end of the archive.
func (x *tarScan) finish(end int64, last string) error {
	if x.lenient {
		_, err := io.Copy(io.Discard, x.src)
		return err
	}
	if x.src.pos == 0 {
		return fmt.Errorf("%w: it is empty", ErrNotTar)
	}
	if x.src.pos != end+2*tarBlock {
		return scanError(fmt.Errorf("the tarball is cut short: the two blocks of zeros that end it are missing"), last, end)
	}
	buf := make([]byte, 32<<10)
	for {
		at := x.src.pos
		n, err := x.src.Read(buf)
		for i, b := range buf[:n] {
			if b != 0 {
				return fmt.Errorf("data at byte %d, after the end of the archive", at+int64(i))
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after the last entry: %w", err)
		}
	}
}
