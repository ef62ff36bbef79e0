package tree

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// ListingVersion names the format of listings, and what OpenOverlay makes of layers. A listing of
// another version is of no use.
const ListingVersion = "1"

// listingMagic begins a listing.
const listingMagic = "varve listing " + ListingVersion + "\n"

// The flags of an entry in a listing.
const (
	listedImplied = 1 << iota
	listedSparse
	listedXattrs

	listedAll = 1<<iota - 1
)

// cost is what the layers took from the limits while they were read.
type cost struct{ bytes, entries, text int64 }

func (l *limits) cost() cost {
	return cost{l.bytes.used(), l.entries.used(), l.text.used()}
}

// within returns an error if the limits do not allow the cost.
func (c cost) within(l *limits) error {
	switch {
	case !l.bytes.take(c.bytes):
		return &LimitError{fmt.Sprintf("it decompresses to more than %d bytes", l.bytes.max), LimitBytes}
	case !l.entries.take(c.entries):
		return l.tooMany()
	}
	return l.takeText(int(c.text))
}

// WriteListing writes the file system without the contents of its files, for OpenListing. It
// needs OverlayOptions.Lasting, and neither Exact nor Below.
//
// A listing is a binary encoding: the number of layers and what they took from the limits, then
// each entry in canonical order, with the part of its path that the entry before does not begin
// with, its attributes, and for a regular file where in which layer its content is, and the
// content's SHA-256. The same file system always has the same listing.
func (o *Overlay) WriteListing(w io.Writer) error {
	if !o.listable {
		return errors.New("the overlay was not opened to be listed")
	}
	if o.text() > o.maxText {
		return errors.New("paths are too long, all together, to be held each by itself")
	}
	out := &listingWriter{w: bufio.NewWriterSize(w, 64<<10), titles: map[string]int{}, contents: map[*Entry]*extent{}}
	for i, l := range o.layers {
		if _, ok := out.titles[l.title]; !ok {
			out.titles[l.title] = i
		}
	}
	for _, files := range o.files {
		for _, c := range files {
			for _, e := range c.names {
				out.contents[e] = c
			}
		}
	}
	out.text(listingMagic)
	out.numbers(len(o.layers), o.cost.bytes, o.cost.entries, o.cost.text, len(o.Entries))
	last := ""
	for _, e := range o.Entries {
		if err := out.entry(last, e); err != nil {
			return err
		}
		last = e.Path
	}
	return out.w.Flush()
}

// text returns the bytes of all paths, link targets and attributes.
func (o *Overlay) text() (n int64) {
	for _, e := range o.Entries {
		n += int64(len(e.Path) + len(e.Linkname))
		for name, value := range e.Xattrs {
			n += int64(len(name) + len(value))
		}
	}
	return n
}

// listingWriter writes a listing; its bufio.Writer keeps the first error.
type listingWriter struct {
	w *bufio.Writer
	// titles has the layers by their titles, contents the regular files' contents.
	titles   map[string]int
	contents map[*Entry]*extent
	buf      []byte
}

// numbers writes integers that are not negative.
func (l *listingWriter) numbers(list ...any) {
	for _, v := range list {
		var n uint64
		switch v := v.(type) {
		case int:
			n = uint64(v)
		case int64:
			n = uint64(v)
		case uint32:
			n = uint64(v)
		}
		l.buf = binary.AppendUvarint(l.buf[:0], n)
		_, _ = l.w.Write(l.buf)
	}
}

func (l *listingWriter) text(s string) { _, _ = l.w.WriteString(s) }

func (l *listingWriter) sized(s string) {
	l.numbers(len(s))
	l.text(s)
}

// entry writes an entry; last is the path of the one before.
func (l *listingWriter) entry(last string, e *Entry) error {
	source, ok := l.titles[e.Source]
	c := l.contents[e]
	switch {
	case e.Source == "":
		source = -1
	case !ok:
		return fmt.Errorf("entry %q comes from %q, which is no layer", brief(e.Path), e.Source)
	}
	if e.Type == Regular && c == nil {
		return fmt.Errorf("entry %q has no content in a layer", brief(e.Path))
	}
	shared := 0
	for shared < min(len(last), len(e.Path)) && last[shared] == e.Path[shared] {
		shared++
	}
	flags := 0
	if e.Implied {
		flags |= listedImplied
	}
	if c != nil && c.sparse {
		flags |= listedSparse
	}
	if len(e.Xattrs) > 0 {
		flags |= listedXattrs
	}
	l.numbers(shared)
	l.sized(e.Path[shared:])
	_ = l.w.WriteByte(byte(e.Type))
	l.numbers(flags, e.Mode, e.UID, e.GID, e.ModTime, source+1)
	switch e.Type {
	case Symlink:
		l.sized(e.Linkname)
	case Char, Block:
		l.numbers(e.Devmajor, e.Devminor)
	case Regular:
		l.numbers(c.size, c.layer, c.start)
		if c.size > 0 {
			_, _ = l.w.Write(c.sum[:])
		}
	}
	if len(e.Xattrs) > 0 {
		l.numbers(len(e.Xattrs))
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			l.sized(name)
			l.sized(e.Xattrs[name])
		}
	}
	return nil
}
