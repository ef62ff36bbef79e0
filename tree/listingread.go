package tree

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
)

// OpenListing opens the file system that layers show by a listing that WriteListing has made of
// them, without reading a layer: ctx, and opts, apply as in OpenOverlay. The listing is believed.
// A file's content is compared with the SHA-256 in it when it is read, so that from layers that
// are not those of the listing no file can be read to its end.
//
// An error says that the layers have to be read instead: the listing is not whole, or of another
// version, or more than opts allow, which is a *LimitError.
func OpenListing(ctx context.Context, r io.Reader, layers []LayerSource, opts OverlayOptions) (*Overlay, error) {
	opts = opts.withDefaults()
	if opts.Exact || opts.Below != nil {
		return nil, errors.New("listings are of layers that were read leniently, on nothing")
	}
	limits := newLimits(opts.MaxBytes, opts.MaxEntries)
	o := &Overlay{ctx: ctx, temp: opts.TempDir, listable: true, maxText: limits.text.max}
	for i, l := range layers {
		o.layers = append(o.layers, &layerIndex{number: i, title: l.Title(), source: l, newHash: sha256.New})
	}
	in := &listingReader{
		ctx: ctx, r: bufio.NewReaderSize(r, 64<<10), overlay: o, limits: limits,
		contents: map[spot]*extent{},
	}
	if err := in.read(); err != nil {
		return nil, fmt.Errorf("read listing of layers: %w", err)
	}
	for _, files := range o.files {
		sortExtents(files)
	}
	return o, nil
}

// spot is where a content is.
type spot struct {
	layer  int
	start  int64
	sparse bool
}

var errNoListing = errors.New("it is not a listing, or is damaged")

// listingReader reads a listing. Its parts that return no error set err.
type listingReader struct {
	ctx     context.Context
	r       *bufio.Reader
	overlay *Overlay
	limits  *limits
	// text is how many more bytes of names, link targets and attributes there may be.
	text     int64
	contents map[spot]*extent
	dirs     []string // the directories above the current entry
	path     []byte
	err      error
}

func (l *listingReader) read() error {
	magic := make([]byte, len(listingMagic))
	if _, err := io.ReadFull(l.r, magic); err != nil || string(magic) != listingMagic {
		return errNoListing
	}
	o := l.overlay
	layers := l.number(math.MaxInt32)
	o.cost = cost{l.number(math.MaxInt64), l.number(math.MaxInt64), l.number(maxText)}
	n := l.number(math.MaxInt64)
	if l.err != nil || layers != int64(len(o.layers)) || n-1 > o.cost.entries {
		return errNoListing
	}
	l.text = o.maxText
	if err := o.cost.within(l.limits); err != nil {
		return err
	}
	o.files = make([][]*extent, len(o.layers))
	for i := range n {
		if err := l.ctx.Err(); err != nil && i%1024 == 0 {
			return err
		}
		e := l.entry()
		if l.err != nil {
			return l.err
		}
		o.Entries = append(o.Entries, e)
	}
	if _, err := l.r.ReadByte(); err != io.EOF || n == 0 {
		return errNoListing
	}
	return nil
}

func (l *listingReader) fail() {
	if l.err == nil {
		l.err = errNoListing
	}
}

// number reads an integer from 0 to most.
func (l *listingReader) number(most int64) int64 {
	n, err := binary.ReadUvarint(l.r)
	if err != nil || n > uint64(most) {
		l.fail()
		return 0
	}
	return int64(n)
}

// bytes appends a text of at most that many bytes, which its length precedes, to to.
func (l *listingReader) bytes(to []byte, most int64) []byte {
	n := l.number(most)
	if l.text -= n; l.text < 0 {
		l.fail()
	}
	if l.err != nil {
		return to
	}
	for n > 0 {
		k := min(n, int64(l.r.Size()))
		piece, err := l.r.Peek(int(k))
		if err != nil {
			l.fail()
			return to
		}
		to = append(to, piece...)
		_, _ = l.r.Discard(len(piece))
		n -= k
	}
	return to
}

// entry reads an entry.
func (l *listingReader) entry() *Entry {
	e := &Entry{Path: l.nextPath()}
	kind, err := l.r.ReadByte()
	if err != nil {
		l.fail()
	}
	e.Type = Type(kind)
	flags := l.number(listedAll)
	e.Implied = flags&listedImplied != 0
	e.Mode, e.UID, e.GID = uint32(l.number(0o7777)), uint32(l.number(MaxID)), uint32(l.number(MaxID))
	e.ModTime = l.number(maxTime)
	if source := l.number(int64(len(l.overlay.layers))); source > 0 && l.err == nil {
		e.Source = l.overlay.layers[source-1].title
	}
	l.descend(e)
	switch e.Type {
	case Dir, FIFO:
	case Symlink:
		e.Linkname = string(l.bytes(nil, maxPath))
		if e.Linkname == "" || strings.ContainsRune(e.Linkname, 0) {
			l.fail()
		}
	case Char, Block:
		e.Devmajor, e.Devminor = uint32(l.number(math.MaxUint32)), uint32(l.number(math.MaxUint32))
	case Regular:
		l.content(e, flags&listedSparse != 0)
	default:
		l.fail()
	}
	if flags&listedXattrs != 0 {
		l.xattrs(e)
	}
	return e
}

// nextPath reads a path, which has to be clean.
func (l *listingReader) nextPath() string {
	shared := l.number(int64(len(l.path)))
	if l.text -= shared; l.text < 0 { // each path is held by itself
		l.fail()
	}
	l.path = l.bytes(l.path[:shared], maxPath)
	if l.err != nil {
		return ""
	}
	name := string(l.path)
	if clean, err := archivePath(name); err != nil || clean != name {
		l.fail()
	}
	return name
}

// descend checks that an entry follows the one before in canonical order, below a directory.
func (l *listingReader) descend(e *Entry) {
	if l.err != nil {
		return
	}
	entries := l.overlay.Entries
	if len(entries) == 0 {
		if e.Path != "." || e.Type != Dir {
			l.fail()
		}
		l.dirs = []string{"."}
		return
	}
	for !below(e.Path, l.dirs[len(l.dirs)-1]) {
		if l.dirs = l.dirs[:len(l.dirs)-1]; len(l.dirs) == 0 {
			l.fail()
			return
		}
	}
	if path.Dir(e.Path) != l.dirs[len(l.dirs)-1] || Compare(entries[len(entries)-1].Path, e.Path) >= 0 {
		l.fail()
	}
	if e.Type == Dir {
		l.dirs = append(l.dirs, e.Path)
	}
}

// content reads where the content of a regular file is.
func (l *listingReader) content(e *Entry, sparse bool) {
	c := &extent{size: l.number(math.MaxInt64), layer: int(l.number(math.MaxInt32)), start: l.number(math.MaxInt64), sparse: sparse}
	if c.sum = sumOf(sha256.New()); c.size > 0 {
		if _, err := io.ReadFull(l.r, c.sum[:]); err != nil {
			l.fail()
		}
	}
	if l.err != nil || c.layer >= len(l.overlay.layers) {
		l.fail()
		return
	}
	at := spot{c.layer, c.start, sparse}
	switch same := l.contents[at]; {
	case same == nil:
		l.contents[at] = c
		l.overlay.files[c.layer] = append(l.overlay.files[c.layer], c)
	case same.size != c.size || same.sum != c.sum:
		l.fail()
	default:
		c = same
	}
	c.names = append(c.names, e)
	e.Size, e.Content = c.size, &inLayer{l.overlay, e, c}
}

// xattrs reads extended attributes.
func (l *listingReader) xattrs(e *Entry) {
	n := l.number(math.MaxInt32)
	last := ""
	e.Xattrs = map[string]string{}
	for i := int64(0); i < n && l.err == nil; i++ {
		name := string(l.bytes(nil, maxText))
		value := string(l.bytes(nil, maxText))
		if !KeepXattr(name) || name <= last || name == CapabilityXattr && (e.Type != Regular || checkCapability(value) != nil) {
			l.fail()
		}
		e.Xattrs[name], last = value, name
	}
	if n == 0 {
		l.fail()
	}
}
