package layer

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/tree"
)

// Options says how to write a layer and what is known of its entries.
type Options struct {
	Dialect Dialect
	// Prefix stands before every path: "/" in a store layer, "./" in a tree.
	Prefix string
	// Title names the layer in messages.
	Title string
	// Immutable says that the files are in a store that nobody writes to. Their
	// content is then handed on by the kernel without being hashed again; a
	// layer whose files look changed all the same is hashed once more.
	Immutable bool
	// HardLinks makes hard links of further names of a file, see Links, where otherwise each name is
	// a file of its own. It is what version 2 of the format does in tree layers.
	HardLinks bool
	// Passed, where it is set, lets a layer of Immutable files be written without looking for them
	// again.
	Passed *Passed
	// Memo, where it is set, remembers the digests of layers, so that a layer
	// whose files are as they were is not read to know its digest.
	Memo Memo
	// Contents, where it is set, returns a text that stands for the content of all files, and is
	// the same on every machine that has them, such as the hashes of store paths' archives; and
	// whether it read the files to know. It gives the layer a portable key.
	Contents func(ctx context.Context) (text string, read bool, err error)
	// Pushed, where it is set, returns the diffID of the layer with a portable key, if an image
	// has it whose maker is trusted. Contents then has to be known to be true.
	Pushed func(portable digest.Digest) (digest.Digest, bool)
}

// Layer is a tar that is made anew, from the same entries, each time that it is
// written.
type Layer struct {
	entries func() tree.Seq
	opts    Options
	// distinct checks that no two entries have one path, where their order does not
	// show it.
	distinct func(context.Context) error

	mu   sync.Mutex // held while the digest is computed
	info *Info
	seen trace
	// reused says that info was remembered.
	reused bool
	// told says that info is an image's, which Options.Pushed knew, and was not compared yet.
	told bool
	// unchecked says that info is yet to be remembered: see read.
	unchecked bool
	// before are the entries of the last pass, for the next: see Passed.
	before []*tree.Entry
	// portable is the portable key, once it was asked for.
	portable digest.Digest
}

// New describes the layer of the entries, which have to be in the order that
// they are to be written in, and the same ones on every call. A path that is not
// clean, or that two entries have, is an error when the layer is read.
func New(entries func() tree.Seq, opts Options) *Layer {
	l := &Layer{entries: entries, opts: opts}
	l.distinct = l.distinctEntries
	return l
}

// Title names the layer in messages.
func (l *Layer) Title() string { return l.opts.Title }

// Info returns the tar's digest and size. The first call reads the whole layer, unless
// Options.Memo knows it.
func (l *Layer) Info(ctx context.Context) (Info, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.info == nil {
		if err := l.learn(ctx); err != nil {
			return Info{}, err
		}
	}
	return *l.info, nil
}

// learn finds out the tar's digest and size.
func (l *Layer) learn(ctx context.Context) error {
	if known, err := l.recall(ctx); known || err != nil {
		return err
	}
	return l.read(ctx, io.Discard)
}

// read writes the tar to dst, and finds out its digest and size.
func (l *Layer) read(ctx context.Context, dst io.Writer) error {
	// What changes in a store meanwhile shows when the layer is written, and it is remembered then.
	// One that was remembered before may not be written at all: what it is compressed to is known.
	unchecked := l.opts.Immutable && dst == io.Discard && (l.opts.Memo == nil || !l.opts.Memo.Known(l.name()))
	keep, isKept := dst.(*keeper)
	if isKept || dst == io.Discard {
		step := tally.Begin(ctx, "hashing", l.opts.Title, 0)
		defer step.End()
		if dst = step; isKept {
			keep.step, dst = step, keep
		}
	}
	info, seen, err := l.hash(ctx, dst, l.collected(), unchecked)
	if err == nil && !seen.sorted {
		err = l.distinct(ctx)
	}
	if err != nil {
		return err
	}
	l.info, l.seen, l.unchecked = &info, seen, unchecked
	tally.From(ctx).Add(tally.Hashed, l, info.Size, seen.files)
	if !unchecked {
		l.remember()
	}
	return nil
}

// Unread reports whether nothing is known of the tar: Info was not called, and Options.Memo has
// not seen a layer of this name.
func (l *Layer) Unread() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.info == nil && (l.opts.Memo == nil || !l.opts.Memo.Known(l.name()))
}

// WriteOnce writes the tar to dst, and returns what Info returns from then on. Content is read
// once if nothing is known of the layer.
func (l *Layer) WriteOnce(ctx context.Context, dst io.Writer) (Info, error) {
	written, err := l.writeUnread(ctx, dst)
	if err == nil && !written {
		err = l.Write(ctx, dst)
	}
	if err != nil {
		return Info{}, err
	}
	return l.Info(ctx)
}

// writeUnread writes the tar, unless its digest is known.
func (l *Layer) writeUnread(ctx context.Context, dst io.Writer) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.info != nil {
		return false, nil
	}
	if known, err := l.recall(ctx); known || err != nil {
		return false, err
	}
	return true, l.read(ctx, dst)
}

// Size returns the tar's size in bytes. It reads no content.
func (l *Layer) Size(ctx context.Context) (int64, error) {
	w := NewWriter(io.Discard, l.opts.Dialect, l.opts.Prefix)
	err := walk(ctx, l.linked(), w, nil)
	return w.Size(), err
}

// walk writes all entries to w with nothing in place of their content. look, if it is not nil,
// is called with each header.
func walk(ctx context.Context, entries tree.Seq, w *Writer, look func(header []byte, e *tree.Entry)) error {
	w.mark = look
	for e, err := range entries {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = w.WriteHeader(e)
		}
		if err != nil {
			return err
		}
		if e.Type == tree.Regular {
			_ = w.Content(e.Size, func(io.Writer) error { return nil }) // there is nobody to write it to
			w.Pad(e.Size)
		}
	}
	return w.Close()
}

// hash writes the layer's entries to dst and hashes that. Unchecked is as for encode.
func (l *Layer) hash(ctx context.Context, dst io.Writer, entries tree.Seq, unchecked bool) (Info, trace, error) {
	d := newDigester(dst)
	w := &Writer{dialect: l.opts.Dialect, prefix: l.opts.Prefix, out: d, buf: takeBuffer()}
	if k, ok := dst.(*keeper); ok {
		k.tar = w
	}
	seen, err := l.encode(ctx, w, entries, unchecked)
	sum := d.sum()
	return Info{DiffID: sum, Size: w.Size()}, seen, err
}

// encode writes the layer's entries to w. Unchecked is for small files that the caller compares by itself.
func (l *Layer) encode(ctx context.Context, w *Writer, entries tree.Seq, unchecked bool) (trace, error) {
	// Where the key is known or not needed it is left out: hashing headers would cost as much as
	// hashing small files.
	keyed := l.info == nil && (l.opts.Memo != nil || l.opts.Contents != nil)
	t := l.newTracer(keyed)
	if keyed && l.opts.Contents != nil {
		t.withHeaders()
	}
	w.mark = t.look
	if !keyed && !l.opts.Immutable {
		// The digest says whether anything changed.
		w.mark = func(_ []byte, e *tree.Entry) { t.pass(e) }
	}
	a := newAhead(w, unchecked)
	defer a.stop()
	for e, err := range entries {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = a.write(ctx, e)
		}
		if err != nil {
			return trace{}, err
		}
	}
	if err := a.finish(ctx); err != nil {
		return trace{}, err
	}
	if err := w.Close(); err != nil {
		return trace{}, err
	}
	t.seen.other = w.other || a.files.Other.Load()
	return t.trace()
}

// distinctEntries makes another pass over the entries, which remembers all paths and
// reads no content.
func (l *Layer) distinctEntries(ctx context.Context) error {
	seen := map[string]bool{}
	for e, err := range l.linked() {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && seen[e.Path] {
			err = fmt.Errorf("entry %s is there twice", describe(e))
		}
		if err != nil {
			return err
		}
		seen[e.Path] = true
	}
	return nil
}

// Write writes the tar to dst. Where dst is a pipe or a regular file the
// kernel copies what it can. So it does where dst has methods File() *os.File,
// which returns the one that it writes to, and Copied(n int64), which is told
// how much has gone there past it.
func (l *Layer) Write(ctx context.Context, dst io.Writer) error {
	info, err := l.Info(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	told := l.told
	l.mu.Unlock()
	if l.opts.Immutable && !told {
		return l.writeTrusting(ctx, dst, info)
	}
	got, seen, err := l.hash(ctx, dst, l.linked(), !told) // the digest is compared
	switch {
	case err != nil:
		return err
	case got == info && told:
		l.proved(seen)
	case got != info && told:
		what := fmt.Sprintf("layer of %s, of which an image that is used as a cache says otherwise", l.opts.Title)
		return &DigestError{What: what, Want: info.DiffID, WantSize: info.Size, Got: got.DiffID, GotSize: got.Size}
	case got != info:
		return l.changed(ctx)
	}
	return nil
}

// proved remembers what an image told of the layer, now that it was compared with the content.
func (l *Layer) proved(seen trace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told && !seen.other && seen.same(l.seen) {
		l.told = false
		l.remember()
	}
}

// writeTrusting writes without hashing. It compares what can be seen of the
// files with what was seen when they were hashed, and hashes them again if
// that differs: a store that is being optimised changes a file's link count
// and with it the change time, but no content.
func (l *Layer) writeTrusting(ctx context.Context, dst io.Writer, info Info) error {
	w := NewWriter(dst, l.opts.Dialect, l.opts.Prefix)
	seen, err := l.encode(ctx, w, l.fromLastPass(), false)
	if err != nil {
		return err
	}
	if seen.same(l.seen) && !seen.other {
		l.checked()
		return nil
	}
	if w.Size() != info.Size {
		return l.changed(ctx)
	}
	return l.compare(ctx)
}

// checked remembers what was hashed without checking that files stay as they are, now that they
// did.
func (l *Layer) checked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unchecked {
		l.unchecked = false
		l.remember()
	}
}

// changed returns the error for a layer that differs from when it was hashed. It
// names the first file that has a younger change time or is not what its entry
// says, or else the last such directory: something may be missing from it.
func (l *Layer) changed(ctx context.Context) error {
	var dir *tree.Entry
	for e, err := range l.linked() {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && e.Stamp.Change <= l.seen.newest {
			err = checkFile(e)
		}
		switch {
		case err != nil:
			return err
		case e.Stamp.Change <= l.seen.newest:
		case e.Type == tree.Dir:
			dir = e
		default:
			return fmt.Errorf("%s changed while the image was written", describe(e))
		}
	}
	if dir != nil {
		return fmt.Errorf("%s changed while the image was written", describe(dir))
	}
	return fmt.Errorf("layer of %s: its files changed while the image was written", l.opts.Title)
}

// checkFile opens a file on disk to see whether it is what its entry says.
func checkFile(e *tree.Entry) error {
	if e.Type != tree.Regular || e.Content == nil || e.Stamp == (tree.Stamp{}) {
		return nil
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if f, ok := r.(*tree.File); ok {
		return f.Check()
	}
	return nil
}
