package layer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/tree"
)

// Memo remembers the digests of layers from one program to the next. It may forget anything at
// any time, but must never return an Info for another key than the one that it was kept under:
// what it returns is believed.
//
// A key is the SHA-256 of all that a tar is made of: a version, how headers are
// written, what each entry's header says, and its Stamp, or the content itself where there is no
// stamp. It is known without reading files.
type Memo interface {
	// Layer returns the digest and size of the layer with a key, and the SHA-256 of its headers, or ""
	// where that was not kept.
	Layer(key digest.Digest) (info Info, headers digest.Digest, ok bool)
	// KeepLayer remembers them. The last change of one of its files was at changed, in nanoseconds
	// since 1970; 0 stands for no files. If that is not some seconds ago the layer must not be
	// kept: clocks of file systems are coarse, and a file that is changed twice within one tick
	// has the same stamp as after the first change.
	KeepLayer(key digest.Digest, info Info, headers digest.Digest, changed int64)
	// Portable returns the portable key of the layer with a key, and KeepPortable remembers it, as
	// KeepLayer does: where it takes a pass over all content to find it.
	Portable(key digest.Digest) (digest.Digest, bool)
	KeepPortable(key, portable digest.Digest, changed int64)
	// Known reports whether a layer of this name was ever kept, and KeepName notes that one was:
	// for a layer that is seen for the first time no key has to be computed. Both may err.
	Known(name digest.Digest) bool
	KeepName(name digest.Digest)
}

// trace keeps, from one pass over the entries, what shows whether another pass saw the same.
type trace struct {
	// key is the Memo's key, where it was asked for.
	key digest.Digest
	// sum stands for what the key stands for, in this process alone.
	sum uint64
	// newest is the latest change time of any entry, and content that of a regular file.
	newest, content int64
	// files counts the regular files.
	files int64
	// headers is the SHA-256 of the headers, where the key was asked for.
	headers digest.Digest
	// sorted says that the entries were in canonical order, and thus no two of one path.
	sorted bool
	// other says that other files were read than those that the key's stamps speak for.
	other bool
}

// same reports whether two passes saw the same. Keys may be missing, and say no more than sums.
func (s trace) same(as trace) bool {
	s.key, s.headers, s.other = as.key, as.headers, as.other
	return s == as
}

// seed is that of traces' sums, which cost less than a key. No file can be made for it.
var seed = maphash.MakeSeed()

// tracer makes a trace.
type tracer struct {
	// key and headers are nil where they are not asked for.
	key, headers hash.Hash

	seen trace
	buf  []byte
	// deep says to read what has no stamp.
	deep bool
	// known, where it is set, says of which entries the content is not taken in.
	known func(*tree.Entry) bool
	last  string // the path of the entry before
	err   error
}

// newTracer returns a tracer that finds the key too, if it is asked for.
func (l *Layer) newTracer(keyed bool) *tracer {
	t := &tracer{seen: trace{sorted: true}}
	if keyed {
		t.deep = l.opts.Memo != nil
		t.key = sha256.New()
		fmt.Fprintf(t.key, "varve layer %s %d %q\n", keyVersion, l.opts.Dialect, l.opts.Prefix)
	}
	return t
}

// withHeaders has the tracer hash headers, for a portable key.
func (t *tracer) withHeaders() *tracer {
	t.headers = sha256.New()
	return t
}

// look takes in an entry and its header.
func (t *tracer) look(header []byte, e *tree.Entry) {
	if t.headers != nil {
		t.headers.Write(header)
	}
	t.entry(e)
}

// entry takes in an entry: what its header says, and what stands for its content.
func (t *tracer) entry(e *tree.Entry) {
	t.pass(e)
	t.buf = binary.BigEndian.AppendUint64(t.buf[:0], t.seen.sum)
	t.buf = appendEntry(t.buf, e)
	read := false
	if e.Type == tree.Regular && e.Size > 0 && (t.known == nil || !t.known(e)) {
		read = t.content(e)
	}
	t.seen.sum = maphash.Bytes(seed, t.buf)
	if t.key != nil {
		t.key.Write(t.buf[8:])
	}
	if read && t.err == nil {
		t.err = t.read(e)
	}
}

// appendEntry appends all that decides what an entry's header is, each part with its length.
func appendEntry(b []byte, e *tree.Entry) []byte {
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, n := range [...]uint64{
		uint64(e.Type), uint64(e.Mode), uint64(e.UID), uint64(e.GID), uint64(e.ModTime), uint64(e.Size),
		uint64(e.Devmajor), uint64(e.Devminor), uint64(len(e.Xattrs)),
	} {
		b = binary.AppendUvarint(b, n)
	}
	text(e.Path)
	text(e.Linkname)
	text(e.Uname)
	text(e.Gname)
	if len(e.Xattrs) > 0 {
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			text(name)
			text(e.Xattrs[name])
		}
	}
	return b
}

// content takes in what stands for a file's content, and reports whether that is the content itself.
func (t *tracer) content(e *tree.Entry) bool {
	t.seen.content = max(t.seen.content, e.Stamp.Change)
	if e.Stamp == (tree.Stamp{}) && t.deep {
		t.buf = append(t.buf, 'c')
		return true
	}
	t.buf = append(t.buf, 's')
	t.buf = binary.BigEndian.AppendUint64(t.buf, e.Stamp.Device)
	for _, n := range [...]uint64{e.Stamp.Inode, uint64(e.Stamp.Change), uint64(e.Stamp.ModTime), uint64(e.Stamp.Offset)} {
		t.buf = binary.BigEndian.AppendUint64(t.buf, n)
	}
	return false
}

// Key returns a digest of entries as the key of a layer has them, for keys of what is made of these
// entries: what their headers say, and their Stamps or their content. It also returns when the last of
// the files was changed whose Stamp it stands for, as for KeepLayer. Of entries that known returns
// true for, only the header counts: the caller states their content.
func Key(ctx context.Context, entries tree.Seq, known func(*tree.Entry) bool) (key digest.Digest, changed int64, err error) {
	l := New(func() tree.Seq { return entries }, Options{Dialect: GNU})
	t := l.newTracer(true)
	t.deep, t.known = true, known
	if err := lookAt(ctx, entries, t); err != nil {
		return "", 0, err
	}
	seen, err := t.trace()
	return seen.key, seen.content, err
}

// lookAt takes in all entries.
func lookAt(ctx context.Context, entries tree.Seq, t *tracer) error {
	for e, err := range entries {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		t.entry(e)
	}
	return nil
}

// pass takes in what is not hashed.
func (t *tracer) pass(e *tree.Entry) {
	t.seen.sorted = t.seen.sorted && (t.last == "" || tree.Compare(t.last, e.Path) < 0)
	t.last = e.Path
	t.seen.newest = max(t.seen.newest, e.Stamp.Change)
	if e.Type == tree.Regular {
		t.seen.files++
	}
}

// read takes in content that no stamp stands for: a text that was made, or a file of the base.
func (t *tracer) read(e *tree.Entry) error {
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(t.key, io.LimitReader(r, e.Size))
	if err == nil && n < e.Size {
		err = shortContent(e, e.Size-n, io.EOF)
	}
	return err
}

func (t *tracer) trace() (trace, error) {
	if t.key != nil {
		t.seen.key = digest.NewDigest(digest.SHA256, t.key)
	}
	if t.headers != nil {
		t.seen.headers = digest.NewDigest(digest.SHA256, t.headers)
	}
	return t.seen, t.err
}

// name identifies the layer by what it is called and made for.
func (l *Layer) name() digest.Digest {
	return digest.FromString(fmt.Sprintf("varve layer %d %q %q", l.opts.Dialect, l.opts.Prefix, l.opts.Title))
}

// recall takes the layer's digest and size from the memo, or from an image that was pushed, if
// they have them. No content is read for it, except what has no stamp.
func (l *Layer) recall(ctx context.Context) (bool, error) {
	memo := l.opts.Memo
	if (memo == nil || !memo.Known(l.name())) && l.opts.Pushed == nil {
		return false, nil
	}
	seen, size, err := l.recallable(ctx)
	if err != nil {
		return false, err
	}
	info := Info{Size: size}
	if memo != nil {
		if known, headers, ok := memo.Layer(seen.key); ok && (size < 0 || known.Size == size) {
			info, seen.headers = known, cmp.Or(seen.headers, headers)
		}
	}
	if info.DiffID == "" && l.opts.Pushed != nil {
		portable, err := l.portableKey(ctx, seen)
		if err != nil {
			return false, err
		}
		if id, ok := l.opts.Pushed(portable); ok {
			info.DiffID, l.told = id, true
		}
	}
	if info.DiffID == "" {
		return false, nil
	}
	l.info, l.seen, l.reused = &info, seen, true
	tally.From(ctx).Add(tally.Reused, l, info.Size, seen.files)
	return true, nil
}

// recallable returns a pass's trace, with the key. Where an image may be asked, it has what a portable
// key needs too, and size is the tar's, otherwise -1.
func (l *Layer) recallable(ctx context.Context) (seen trace, size int64, err error) {
	t := l.newTracer(true)
	if size = -1; l.opts.Pushed == nil {
		err = lookAt(ctx, l.collected(), t)
	} else {
		w := NewWriter(io.Discard, l.opts.Dialect, l.opts.Prefix)
		err = walk(ctx, l.collected(), w, t.withHeaders().look)
		size = w.Size()
	}
	if err != nil {
		return trace{}, 0, err
	}
	seen, err = t.trace()
	return seen, size, err
}

// PortableKey returns a key that is the same on every machine with the same files, or "" for a
// layer without Options.Contents: the SHA-256 of all that its tar is made of, with the text in
// place of content. It calls Info.
func (l *Layer) PortableKey(ctx context.Context) (digest.Digest, error) {
	if l.opts.Contents == nil {
		return "", nil
	}
	if _, err := l.Info(ctx); err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.portableKey(ctx, l.seen)
}

func (l *Layer) portableKey(ctx context.Context, seen trace) (digest.Digest, error) {
	memo := l.opts.Memo
	if l.portable == "" && memo != nil && seen.key != "" {
		l.portable, _ = memo.Portable(seen.key)
	}
	if l.portable != "" {
		return l.portable, nil
	}
	headers, contents, read, err := l.contents(ctx, seen)
	if err != nil {
		return "", err
	}
	l.portable = digest.FromString(fmt.Sprintf("varve portable layer %s %d %q\n%s\n%s",
		portableVersion, l.opts.Dialect, l.opts.Prefix, headers, contents))
	if read && memo != nil && seen.key != "" && !seen.other {
		memo.KeepPortable(seen.key, l.portable, seen.content)
	}
	return l.portable, nil
}

// contents returns the hash of all headers and what stands for the content of all files, which are as
// they were when seen was found, and whether files were read for it.
func (l *Layer) contents(ctx context.Context, seen trace) (headers digest.Digest, text string, read bool, err error) {
	for range 3 {
		text, read, err := l.opts.Contents(ctx)
		if err != nil || !read && seen.headers != "" {
			return seen.headers, text, read, err
		}
		now, err := l.lookAgain(ctx)
		if err != nil || now.same(seen) {
			return now.headers, text, read, err
		}
		// A store that is being optimised has other change times, and no other content.
		if err := l.compare(ctx); err != nil {
			return "", "", false, err
		}
		seen = now
	}
	return "", "", false, l.changed(ctx)
}

// lookAgain returns what a pass over the entries sees now, with the hash of the headers.
func (l *Layer) lookAgain(ctx context.Context) (trace, error) {
	t := l.newTracer(false).withHeaders()
	if err := walk(ctx, l.linked(), NewWriter(io.Discard, l.opts.Dialect, l.opts.Prefix), t.look); err != nil {
		return trace{}, err
	}
	return t.trace()
}

// compare reads the layer again, to see whether it is what Info said.
func (l *Layer) compare(ctx context.Context) error {
	again, _, err := l.hash(ctx, io.Discard, l.linked(), false)
	if err == nil && (l.info == nil || again != *l.info) {
		return l.changed(ctx)
	}
	return err
}

// remember gives the memo what a pass over the content has shown.
func (l *Layer) remember() {
	memo := l.opts.Memo
	if memo == nil || l.seen.other {
		return
	}
	memo.KeepLayer(l.seen.key, *l.info, l.seen.headers, l.seen.content)
	memo.KeepName(l.name())
}

// Reused reports whether the digest that Info returned was remembered, so that no content was
// read for it.
func (l *Layer) Reused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reused
}
