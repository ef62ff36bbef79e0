// Package tarindex opens an archive whose members are read in any order: a tar,
// plain or compressed.
//
// Guarantees: only members of the archive are ever read, whatever its links say;
// the number of members and the unpacked size of an archive are limited; an
// archive that is cut short, even between two members, or followed by anything
// but zeros is refused, and so is one with a member that has two names; a
// compressed archive, or one from a stream, is unpacked once, to a file that has
// no name and is gone with its last descriptor.
//
// Non-goals: what the members mean.
package tarindex

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/tree"
)

const (
	// maxMembers limits an archive's members, and maxText their names, which are
	// held in memory, in bytes; no name is longer than maxName.
	maxMembers = 100_000
	maxText    = 64 << 20
	maxName    = 4096
	// maxLinks limits a chain of members that are links.
	maxLinks = 10
	// defaultBytes is the limit for the unpacked size if none is given.
	defaultBytes = 64 << 30
)

// Options says how an archive is read.
type Options struct {
	// TempDir is where a compressed archive, or one from a stream, is unpacked;
	// empty means the system's directory for temporary files.
	TempDir string
	// MaxBytes limits the unpacked size; zero means 64 GiB.
	MaxBytes int64
}

// Archive is an open archive.
type Archive struct {
	file    *os.File
	stamp   tree.Stamp // the file's before it was read; zero if it is a temporary one
	members map[string]*Member
	text    int // the size of the members' headers so far
}

// Member is a member of an archive.
type Member struct {
	// Header is its header, without PAX records.
	Header *tar.Header
	// sparse reports whether it is stored without its holes, so that its bytes in
	// the archive are not its content.
	sparse  bool
	archive *Archive
	offset  int64
}

// Open returns the member's content.
func (m *Member) Open() *io.SectionReader {
	return io.NewSectionReader(m.archive.file, m.offset, m.Header.Size)
}

// File returns the file that has the content, and the file's stamp from before it was read, with
// the content's offset. It returns nil if the archive had to be unpacked.
func (m *Member) File() (*os.File, tree.Stamp) {
	at := m.archive.stamp
	if at == (tree.Stamp{}) {
		return nil, at
	}
	at.Offset = m.offset
	return m.archive.file, at
}

// Open reads the table of contents of the archive in the file name. A compressed
// archive is unpacked first.
func Open(ctx context.Context, name string, opts Options) (*Archive, error) {
	f, err := regfile.Open(name)
	if err != nil {
		return nil, regfile.Cause(err) // the caller says which file it is
	}
	a := &Archive{file: f, members: map[string]*Member{}}
	if a.stamp, err = tree.StampOf(f); err == nil {
		err = a.decompress(ctx, opts)
	}
	if err == nil {
		err = a.readMembers(ctx)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// Read reads an archive from a stream, to the stream's end, and keeps it unpacked.
func Read(ctx context.Context, r io.Reader, opts Options) (*Archive, error) {
	file, err := unpack(ctx, r, opts)
	if err != nil {
		return nil, err
	}
	a := &Archive{file: file, members: map[string]*Member{}}
	if err := a.readMembers(ctx); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// Close closes the archive. Its members cannot be read afterwards.
func (a *Archive) Close() error { return a.file.Close() }

// decompress replaces a compressed archive with the unpacked one.
func (a *Archive) decompress(ctx context.Context, opts Options) error {
	r, algorithm, err := compress.NewReader(a.file)
	if err != nil {
		return err
	}
	defer r.Close()
	if algorithm != compress.None {
		temp, err := spool(ctx, r, opts)
		if err != nil {
			return err
		}
		a.file.Close()
		a.file, a.stamp = temp, tree.Stamp{}
	}
	_, err = a.file.Seek(0, io.SeekStart)
	return err
}

// unpack decompresses a stream into a file without a name. The file is positioned
// at its start.
func unpack(ctx context.Context, r io.Reader, opts Options) (*os.File, error) {
	plain, _, err := compress.NewReader(ctxio.Reader(ctx, r))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	return spool(ctx, plain, opts)
}

func spool(ctx context.Context, r io.Reader, opts Options) (*os.File, error) {
	temp, err := atomicfile.Unnamed(opts.TempDir)
	if err != nil {
		return nil, err
	}
	most := opts.MaxBytes
	if most <= 0 {
		most = defaultBytes
	}
	n, err := io.Copy(temp, io.LimitReader(ctxio.Reader(ctx, r), most+1))
	if err == nil && n > most {
		err = &tree.LimitError{Reason: fmt.Sprintf("it unpacks to more than %d bytes", most), Limit: tree.LimitBytes}
	}
	if err == nil {
		_, err = temp.Seek(0, io.SeekStart)
	}
	if err != nil {
		temp.Close()
		return nil, err
	}
	return temp, nil
}

func (a *Archive) readMembers(ctx context.Context) error {
	source := &headers{File: a.file}
	r := tar.NewReader(source)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return source.checkEnd(ctx)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read tar: after %d members: %w", len(a.members), err)
		}
		if err := a.checkText(h); err != nil {
			return err
		}
		if err := tree.CheckTarHeader(h); err != nil {
			return fmt.Errorf("member %q: %w", h.Name, err)
		}
		isSparse := sparse(h)
		forgetRecords(h)
		name := path.Clean(h.Name)
		if had := a.members[name]; had != nil && !sameMember(had.Header, h) {
			return fmt.Errorf("two different members are called %q", name)
		}
		if len(a.members) == maxMembers {
			return fmt.Errorf("more than %d members", maxMembers)
		}
		// archive/tar reads no further than the header, and the content of a
		// member that is not sparse follows it as it is.
		offset, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		a.members[name] = &Member{Header: h, sparse: isSparse, archive: a, offset: offset}
	}
}

// forgetRecords drops PAX records, which may have a MiB, except for what is in other
// fields as well: archive/tar's fields are substrings of the whole.
func forgetRecords(h *tar.Header) {
	h.PAXRecords = nil
	for _, text := range []*string{&h.Name, &h.Linkname, &h.Uname, &h.Gname} {
		*text = strings.Clone(*text)
	}
}

// checkText limits how much of the headers is kept.
func (a *Archive) checkText(h *tar.Header) error {
	if n := max(len(h.Name), len(h.Linkname)); n > maxName {
		return fmt.Errorf("after %d members: a name has %d bytes, more than %d", len(a.members), n, maxName)
	}
	if a.text += len(h.Name) + len(h.Linkname) + len(h.Uname) + len(h.Gname); a.text > maxText {
		return fmt.Errorf("after %d members: the names have together more than %d bytes", len(a.members), maxText)
	}
	return nil
}

// sameMember reports whether a name may occur twice: for a directory, or for a file
// that is named by the digest of its content, as a layer is.
func sameMember(a, b *tar.Header) bool {
	if a.Typeflag != b.Typeflag {
		return false
	}
	return a.Typeflag == tar.TypeDir || strings.HasSuffix(a.Name, "/layer.tar") && a.Size == b.Size
}

// Has reports whether the archive has a member of that name, of any type.
func (a *Archive) Has(name string) bool { return a.members[path.Clean(name)] != nil }

// Member finds a regular member, following links among the members. A name
// that leads out of the archive is an error, a missing one fs.ErrNotExist.
func (a *Archive) Member(name string) (*Member, error) {
	at := name
	for range maxLinks {
		if at = path.Clean(at); path.IsAbs(at) || at == ".." || strings.HasPrefix(at, "../") {
			return nil, fmt.Errorf("member %q leads out of the archive", name)
		}
		m := a.members[at]
		if m == nil {
			return nil, fmt.Errorf("member %q: %w", name, fs.ErrNotExist)
		}
		switch h := m.Header; {
		case h.Typeflag == tar.TypeReg && !m.sparse:
			return m, nil
		case h.Typeflag == tar.TypeSymlink && !path.IsAbs(h.Linkname):
			at = path.Join(path.Dir(at), h.Linkname)
		case h.Typeflag == tar.TypeSymlink, h.Typeflag == tar.TypeLink:
			at = h.Linkname
		default:
			return nil, fmt.Errorf("member %q is not a regular file", name)
		}
	}
	return nil, fmt.Errorf("member %q: too many links", name)
}

// sparse reports whether a member is stored without its holes.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// Read reads a small member completely. One of more than limit bytes is an error.
func (a *Archive) Read(name string, limit int64) ([]byte, error) {
	m, err := a.Member(name)
	if err != nil {
		return nil, err
	}
	if m.Header.Size > limit {
		return nil, fmt.Errorf("member %q has %d bytes, more than %d", name, m.Header.Size, limit)
	}
	return io.ReadAll(m.Open())
}
