package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/varve-image/varve/internal/problems"
)

const (
	tarBlock = 512
	// maxPath and maxName are PATH_MAX less its NUL, and NAME_MAX.
	maxPath = 4095
	maxName = 255
	// maxTarText bounds the memory for the names, link targets and
	// attributes of one tarball.
	maxTarText = 1 << 30
	// maxTime is the end of the year 9999.
	maxTime = 253402300799
)

// tarIndex reads the headers of a tarball.
type tarIndex struct {
	tar     *Tar
	opts    TarOptions
	src     *tarSource
	entries []*Entry
	at      map[string]int // where in entries a path stands
	sparse  int64          // bytes of sparse files so far
	text    int            // bytes of names so far
	bad     problems.List
}

// index reads a whole tarball from src and sets t.Entries.
func (t *Tar) index(src *tarSource, opts TarOptions) error {
	x := &tarIndex{tar: t, opts: opts, src: src, at: map[string]int{}}
	if err := x.scan(); err != nil {
		return err
	}
	if err := x.bad.Err(); err != nil {
		return err
	}
	x.at = nil
	Sort(x.entries)
	entries, err := complete(x.entries)
	if err != nil {
		return err
	}
	if len(entries) > opts.MaxEntries {
		return x.tooMany()
	}
	t.Entries = entries
	return nil
}

func (x *tarIndex) tooMany() error {
	return fmt.Errorf("it has more than %d entries", x.opts.MaxEntries)
}

// scan adds all entries. Its errors are those after which the rest of the
// tarball means nothing.
func (x *tarIndex) scan() error {
	r := tar.NewReader(x.src)
	last := "" // the entry before, for messages
	end := int64(0)
	for {
		start := end
		hdr, err := nextHeader(r)
		if err == io.EOF {
			return x.finish(end, last)
		}
		if err != nil {
			return scanError(err, last, start)
		}
		last = hdr.Name
		if end, err = x.skip(r, hdr); err != nil {
			return err
		}
		if hdr.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := x.add(hdr, start, end); err != nil {
			return err
		}
	}
}

// nextHeader is r.Next, whatever GODEBUG says of insecure paths: names are
// checked here.
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

// skip returns where the content of the entry that was just read ends, its
// padding included. Content of a sparse file is read through: how much of it is
// in the tarball does not stand in the header.
func (x *tarIndex) skip(r *tar.Reader, hdr *tar.Header) (int64, error) {
	if !isSparse(hdr) {
		if !hasContent(hdr.Typeflag) {
			return roundUp(x.src.pos), nil
		}
		if hdr.Size > math.MaxInt64-x.src.pos-tarBlock {
			return 0, fmt.Errorf("entry %q: its size of %d bytes is not possible", hdr.Name, hdr.Size)
		}
		return roundUp(x.src.pos + hdr.Size), nil
	}
	if hdr.Size > x.opts.MaxBytes-x.sparse {
		return 0, fmt.Errorf("entry %q: sparse files expand to more than %d bytes", hdr.Name, x.opts.MaxBytes)
	}
	x.sparse += hdr.Size
	n, err := io.Copy(io.Discard, r)
	if err == nil && n != hdr.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, fmt.Errorf("entry %q: %w", hdr.Name, err)
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

// hasContent tells of what type flags archive/tar skips content.
func hasContent(flag byte) bool {
	switch flag {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo, tar.TypeXGlobalHeader:
		return false
	}
	return true
}

func roundUp(n int64) int64 { return (n + tarBlock - 1) / tarBlock * tarBlock }

// finish looks at what comes after the last entry, which ended at end: archive/tar
// takes any end of the file at the end of a block for the end of the archive.
func (x *tarIndex) finish(end int64, last string) error {
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

// add adds an entry whose headers start at start and whose content, with its
// padding, ends at end.
func (x *tarIndex) add(hdr *tar.Header, start, end int64) error {
	x.text += len(hdr.Name) + len(hdr.Linkname)
	name, err := tarName(hdr)
	if err == nil {
		var e *Entry
		if e, err = x.entry(hdr, name); err == nil {
			if e.Type == Regular && e.Open == nil {
				x.content(e, hdr, start, end)
			}
			err = x.put(e)
		}
	}
	if err != nil {
		x.bad.Addf("entry %q: %w", hdr.Name, err)
	}
	if len(x.entries) > x.opts.MaxEntries {
		return x.tooMany()
	}
	if x.text > maxTarText {
		return fmt.Errorf("its names and attributes are larger than %d bytes", maxTarText)
	}
	return nil
}

func (x *tarIndex) content(e *Entry, hdr *tar.Header, start, end int64) {
	e.Size = hdr.Size
	if isSparse(hdr) {
		e.Open = x.tar.sparseOpener(e.Path, start, e.Size)
		return
	}
	e.Open = x.tar.opener(e.Path, end-roundUp(hdr.Size), e.Size)
}

// put adds e, or puts it in the place of an earlier entry of its name.
func (x *tarIndex) put(e *Entry) error {
	i, seen := x.at[e.Path]
	if !seen {
		x.at[e.Path] = len(x.entries)
		x.entries = append(x.entries, e)
		return nil
	}
	if old := x.entries[i]; (old.Type == Dir) != (e.Type == Dir) {
		return fmt.Errorf("it is a %s here and a %s earlier in the tarball", e.Type, old.Type)
	}
	x.entries[i] = e
	return nil
}
