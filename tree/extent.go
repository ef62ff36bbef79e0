package tree

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"slices"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
)

// extent locates the content of a regular file in a layer.
type extent struct {
	layer int
	// start is where in the layer's tar the content is, or the headers of a
	// sparse file.
	start  int64
	sparse bool
	size   int64
	// sum is the content's hash, as its layer hashes. It shows that a later pass
	// sees what was verified in the first.
	sum contentSum
	// names are the files that have this content.
	names []*Entry
	// spooled says that the content is in the spool, at offset.
	spooled bool
	offset  int64
}

// contentSum is the hash of a file's content: a SHA-256, or eight bytes of a seeded hash.
type contentSum [sha256.Size]byte

func sumOf(h hash.Hash) (s contentSum) {
	h.Sum(s[:0])
	return s
}

// seededHash returns what makes hashes that are quick, and compare only with each other.
func seededHash() func() hash.Hash {
	seed := maphash.MakeSeed()
	return func() hash.Hash {
		h := &maphash.Hash{}
		h.SetSeed(seed)
		return h
	}
}

func sortExtents(list []*extent) {
	slices.SortFunc(list, func(a, b *extent) int { return cmp.Compare(a.start, b.start) })
}

// Each calls visit with the content of every regular file, layer by layer and
// in the order of each, in one pass over every layer that has any. files has
// more than one entry where there were hard links. An error of visit ends it.
func (o *Overlay) Each(ctx context.Context, visit func(files []*Entry, content io.Reader) error) error {
	for i := range o.layers {
		err := o.eachOf(ctx, i, func(c *extent, r io.Reader) error { return visit(c.names, r) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Spool copies the contents of all files whose layer cannot be read at any
// offset, in one pass over each layer, to a temporary file that has no name and
// is gone after Close. From then on opening a file costs nothing. No file may be
// opened while Spool runs.
func (o *Overlay) Spool(ctx context.Context) error {
	return o.spoolSome(ctx, func(*extent) bool { return true })
}

// SpoolFiles is like Spool for these entries alone, which may be copies. Entries of
// others are ignored.
func (o *Overlay) SpoolFiles(ctx context.Context, entries []*Entry) error {
	wanted := map[*extent]bool{}
	for _, e := range entries {
		if c, ok := e.Content.(*inLayer); ok && c.overlay == o {
			wanted[c.extent] = true
		}
	}
	return o.spoolSome(ctx, func(c *extent) bool { return wanted[c] })
}

// spoolSome spools the contents that are wanted and not spooled yet.
func (o *Overlay) spoolSome(ctx context.Context, wanted func(*extent) bool) error {
	want := func(c *extent) bool { return !c.spooled && c.size > 0 && wanted(c) }
	var some []int
	for i, l := range o.layers {
		if !l.random && slices.ContainsFunc(o.files[i], want) {
			some = append(some, i)
		}
	}
	if len(some) == 0 {
		return nil
	}
	if o.spool == nil {
		f, err := atomicfile.Unnamed(o.temp)
		if err != nil {
			return fmt.Errorf("make a temporary file for the layers' contents: %w", err)
		}
		o.spool = f
	}
	if err := o.spoolLayers(ctx, some, want); err != nil {
		return fmt.Errorf("copy the layers' contents to a temporary file: %w", err)
	}
	return nil
}

// spoolLayers appends the contents of layers that are wanted to the spool.
func (o *Overlay) spoolLayers(ctx context.Context, layers []int, want func(*extent) bool) error {
	offset, err := o.spool.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(o.spool, 256<<10)
	var done []*extent
	for _, i := range layers {
		if err := o.eachOf(ctx, i, func(c *extent, r io.Reader) error {
			if !want(c) {
				return nil
			}
			c.offset = offset
			offset += c.size
			done = append(done, c)
			_, err := io.Copy(w, r)
			return err
		}); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range done {
		c.spooled = true
	}
	return nil
}

// eachOf visits the contents of one layer.
func (o *Overlay) eachOf(ctx context.Context, layer int, visit func(*extent, io.Reader) error) error {
	if len(o.files[layer]) == 0 {
		return nil
	}
	l := o.layers[layer]
	r, err := l.source.Open(ctx)
	if err != nil {
		return fmt.Errorf("read layer %q: %w", l.title, err)
	}
	defer r.Close()
	s := newLayerReader(ctx, r)
	for _, c := range o.files[layer] {
		file := newFileReader(l, c.names[0].Path, c)
		if err := s.seek(c); err != nil {
			return file.fail(err)
		}
		file.r = s.file
		if err := visit(c, file); err != nil {
			return err
		}
		// The rest of the layer is verified as well.
		if _, err := io.Copy(io.Discard, file); err != nil {
			return err
		}
	}
	return nil
}

// layerReader reads contents of an open layer, one after the other.
type layerReader struct {
	src  *tarSource
	file io.Reader // the content that seek found
}

func newLayerReader(ctx context.Context, r io.Reader) *layerReader {
	return &layerReader{src: &tarSource{ctx: ctx, r: bufio.NewReaderSize(r, 64<<10)}}
}

// seek goes forward to c.
func (s *layerReader) seek(c *extent) error {
	if _, err := io.CopyN(io.Discard, s.src, c.start-s.src.pos); err != nil {
		return noEnd(err)
	}
	s.file = s.src
	if !c.sparse {
		return nil
	}
	r, err := expand(s.src, c)
	s.file = r
	return err
}

// expand reads the sparse file whose headers r is at.
func expand(r io.Reader, c *extent) (io.Reader, error) {
	t := tar.NewReader(r)
	hdr, err := nextHeader(t)
	if err == nil && hdr.Size != c.size {
		err = errChanged
	}
	return t, noEnd(err)
}

var errChanged = errors.New("the layer changed since it was first read")

// noEnd turns an unexpected end into an error.
func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fileReader reads one file of a layer and compares it with what the first pass
// saw.
type fileReader struct {
	layer  *layerIndex
	name   string
	extent *extent
	r      io.Reader
	left   int64
	hash   hash.Hash
	close  io.Closer
}

func newFileReader(l *layerIndex, name string, c *extent) *fileReader {
	return &fileReader{layer: l, name: name, extent: c, left: c.size, hash: l.newHash()}
}

func (f *fileReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		if sumOf(f.hash) != f.extent.sum {
			return 0, f.fail(errChanged)
		}
		return 0, io.EOF
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.hash.Write(p[:n])
	f.left -= int64(n)
	switch {
	case err == io.EOF && f.left > 0:
		return n, f.fail(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		return n, f.fail(err)
	}
	return n, nil
}

func (f *fileReader) fail(err error) error {
	return fmt.Errorf("read %q of layer %q: %w", f.name, f.layer.title, err)
}

// Close closes the layer, if it was opened for this file alone.
func (f *fileReader) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close.Close()
}

// inLayer is the content of an Overlay's file.
type inLayer struct {
	overlay *Overlay
	entry   *Entry
	extent  *extent
}

// Open opens the content.
func (n *inLayer) Open() (io.ReadCloser, error) {
	o, c := n.overlay, n.extent
	if c.size == 0 {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	l := o.layers[c.layer]
	f := newFileReader(l, n.entry.Path, c)
	if c.spooled {
		if o.spool == nil {
			return nil, f.fail(errors.New("it was closed"))
		}
		f.r = io.NewSectionReader(o.spool, c.offset, c.size)
		return f, nil
	}
	r, err := l.source.Open(o.ctx)
	if err != nil {
		return nil, f.fail(err)
	}
	if err := f.from(o.ctx, r); err != nil {
		r.Close()
		return nil, f.fail(err)
	}
	f.close = r
	return f, nil
}

// from finds the content in an open layer.
func (f *fileReader) from(ctx context.Context, layer io.Reader) error {
	c := f.extent
	if at, ok := layer.(io.ReaderAt); ok {
		const toTheEnd = 1<<63 - 1
		rest := ctxio.Reader(ctx, io.NewSectionReader(at, c.start, toTheEnd-c.start))
		f.r = rest
		if c.sparse {
			var err error
			f.r, err = expand(bufio.NewReader(rest), c)
			return err
		}
		return nil
	}
	s := newLayerReader(ctx, layer)
	err := s.seek(c)
	f.r = s.file
	return err
}
