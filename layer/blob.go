package layer

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/tree"
)

// Blob is a layer that is stored already: in a file, an archive, a layout or a registry,
// compressed or not. Each time that it is read, all of its bytes are checked against Descriptor
// and DiffID, except by Write where a memo has that a Section matched them.
type Blob struct {
	// Name names the layer in messages and titles.
	Name string
	// Descriptor is the blob's in a manifest. If its digest is empty, only DiffID is checked.
	Descriptor v1.Descriptor
	// DiffID is the digest of its tar, as the config has it.
	DiffID digest.Digest
	// Repository is the registry's repository that has the blob, HOST/NAME;
	// empty where no registry has it.
	Repository string
	// Fetch opens the blob.
	Fetch func(ctx context.Context) (io.ReadCloser, error)
	// Section, where it is set, is the part of a file that Fetch reads.
	Section *Section

	mu sync.Mutex // held while the tar is read for the first time

	memo   BlobMemo
	budget *Budget
	// the most bytes of the tar, and entries in it, that one pass has read
	seen, seenEntries atomic.Int64
	// unpacked is set when the blob has been verified to unpack to DiffID.
	unpacked atomic.Pointer[Unpacked]
	// proved is set when the memo has that this Section, with this stamp, is the blob.
	proved atomic.Bool
	// kept is set when the memo was told so.
	kept atomic.Bool
}

// Budget limits what several layers may unpack to together, and how many entries they may have.
// Reading a layer again costs nothing.
type Budget struct {
	bytes, entries         int64
	bytesLeft, entriesLeft atomic.Int64
}

// NewBudget returns a budget of bytes and entries.
func NewBudget(bytes, entries int64) *Budget {
	b := &Budget{bytes: bytes, entries: entries}
	b.bytesLeft.Store(bytes)
	b.entriesLeft.Store(entries)
	return b
}

// Limit makes reading the layer fail when the budget is spent. It must not be called while the
// layer is being read.
func (b *Blob) Limit(budget *Budget) { b.budget = budget }

// spend takes from the budget what n bytes of the tar, with so many entries, exceed what was
// read before.
func (b *Blob) spend(n, entries int64) error {
	if b.budget == nil {
		return nil
	}
	if !take(&b.budget.bytesLeft, &b.seen, n) {
		return &tree.LimitError{Reason: fmt.Sprintf("layer %q: the image's layers unpack to more than %d bytes", b.Name, b.budget.bytes), Limit: tree.LimitBytes}
	}
	if !take(&b.budget.entriesLeft, &b.seenEntries, entries) {
		return &tree.LimitError{Reason: fmt.Sprintf("layer %q: the image's layers have more than %d entries", b.Name, b.budget.entries), Limit: tree.LimitEntries}
	}
	return nil
}

// take takes from left what n exceeds seen by, and reports whether that much was left: once it
// was not, nothing more is.
func take(left, seen *atomic.Int64, n int64) bool {
	for {
		most := seen.Load()
		if n <= most {
			return left.Load() >= 0
		}
		if seen.CompareAndSwap(most, n) {
			return left.Add(most-n) >= 0
		}
	}
}

// Title names the layer.
func (b *Blob) Title() string { return b.Name }

// Stored returns Descriptor.
func (b *Blob) Stored() v1.Descriptor { return b.Descriptor }

// Origin returns Repository.
func (b *Blob) Origin() string { return b.Repository }

// TarDigest returns DiffID.
func (b *Blob) TarDigest() digest.Digest { return b.DiffID }

// Info returns the tar's digest and size. It reads the whole layer, unless it is Verified, and
// returns a *DigestError if the layer is not what Descriptor or DiffID say.
func (b *Blob) Info(ctx context.Context) (Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u, err := b.recall()
	switch {
	case err != nil:
		return Info{}, err
	case u == nil:
		step := tally.Begin(ctx, "hashing", b.Name, 0)
		defer step.End()
		info, err := b.copy(ctx, step)
		if err == nil {
			tally.From(ctx).Add(tally.Hashed, b, info.Size, 0)
		}
		return info, err
	}
	return Info{DiffID: b.DiffID, Size: u.Size}, nil
}

// Write writes the layer's tar, without the blob's compression.
func (b *Blob) Write(ctx context.Context, w io.Writer) error {
	if plain, err := b.isProvedTar(); err != nil {
		return err
	} else if plain {
		return b.copySection(ctx, w)
	}
	_, err := b.copy(ctx, w)
	return err
}

// Unread reports whether Info would read the layer.
func (b *Blob) Unread() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	u, err := b.recall()
	return err == nil && u == nil
}

// WriteOnce writes what Write writes, and returns what Info returns from then on.
func (b *Blob) WriteOnce(ctx context.Context, w io.Writer) (Info, error) {
	known := b.unpacked.Load() != nil
	info, err := b.copy(ctx, w)
	if err == nil && !known {
		tally.From(ctx).Add(tally.Hashed, b, info.Size, 0)
	}
	return info, err
}

func (b *Blob) copy(ctx context.Context, w io.Writer) (Info, error) {
	r, err := b.Open(ctx)
	if err != nil {
		return Info{}, err
	}
	defer r.Close()
	// The struct hides methods that would take the copy away from the context.
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, ctxio.Reader(ctx, r), make([]byte, bufferSize))
	if err != nil {
		return Info{}, fmt.Errorf("copy layer %q: %w", b.Name, err)
	}
	return Info{DiffID: b.DiffID, Size: n}, nil
}

// Open opens the layer's tar. The blob's first bytes say how it is compressed, not its media
// type. Reading ends with an error instead of io.EOF if the blob or the tar is not what
// Descriptor and DiffID say, so nothing that was read can be relied on before. Limit limits how
// much is read.
func (b *Blob) Open(ctx context.Context) (io.ReadCloser, error) {
	stored, err := b.fetch(ctx)
	if err != nil {
		return nil, err
	}
	plain, _, err := compress.NewReader(stored)
	if err != nil {
		err = b.blame(ctx, stored, fmt.Errorf("layer %q: %w", b.Name, err))
		stored.Close()
		return nil, err
	}
	v := b.tarVerifier(plain, b.verified)
	v.atEnd = func() error { _, err := io.Copy(io.Discard, stored); return err }
	v.blame = func(err error) error { return b.blame(ctx, stored, err) }
	v.close = func() error { return errors.Join(plain.Close(), stored.Close()) }
	return v, nil
}

// tarVerifier compares the layer's tar with DiffID, and calls good if it matches.
func (b *Blob) tarVerifier(plain io.Reader, good func(Unpacked)) *verifier {
	count := newEntries()
	return &verifier{
		r: io.TeeReader(plain, count), what: fmt.Sprintf("tar of layer %q", b.Name), want: b.DiffID, hash: b.DiffID.Algorithm().Hash(), size: -1,
		spend: func(n int64) error { return b.spend(n, count.n) },
		good:  func(n int64) { good(Unpacked{Size: n, Entries: count.n}) },
	}
}

// blame returns err, which came from unpacking stored, unless stored does not match Descriptor:
// then the damaged blob is the error, whatever it unpacks to.
func (b *Blob) blame(ctx context.Context, stored io.Reader, err error) error {
	var mismatch *DigestError
	if _, readErr := io.Copy(io.Discard, ctxio.Reader(ctx, stored)); errors.As(readErr, &mismatch) {
		return fmt.Errorf("layer %q: %w", b.Name, readErr)
	}
	return err
}

// OpenStored opens the blob as it is stored. Reading ends with an error instead of io.EOF if it
// is not what Descriptor says, or is a tar by its media type and does not unpack to DiffID,
// unless it is Verified. Limit limits what it unpacks to.
func (b *Blob) OpenStored(ctx context.Context) (io.ReadCloser, error) {
	isTar := b.Descriptor.Digest != "" && b.DiffID != "" && isTarType(b.Descriptor.MediaType)
	if isTar {
		u, err := b.recall()
		if err != nil {
			return nil, err
		}
		isTar = u == nil
	}
	r, err := b.fetch(ctx)
	if err != nil || !isTar {
		return r, err
	}
	return b.unpackAlong(ctx, r), nil
}

// fetch opens the blob, to be compared with Descriptor.
func (b *Blob) fetch(ctx context.Context) (io.ReadCloser, error) {
	r, err := b.Fetch(ctx)
	if err != nil || b.Descriptor.Digest == "" {
		return r, err
	}
	return Verify(r, b.Descriptor), nil
}

// Verify returns a reader of r that fails instead of returning io.EOF if what was read is not
// what d says, and fails as soon as it is more than that.
func Verify(r io.ReadCloser, d v1.Descriptor) io.ReadCloser {
	return &verifier{
		r: r, what: "blob " + d.Digest.String(), want: d.Digest, hash: d.Digest.Algorithm().Hash(), size: d.Size,
		close: r.Close,
	}
}

// verifier checks what is read through it.
type verifier struct {
	r    io.Reader
	what string
	want digest.Digest
	hash hash.Hash
	// size is the expected size, -1 for any; n is how much was read.
	size, n int64
	// spend, where it is set, is called with how much was read.
	spend func(n int64) error
	// atEnd, where it is set, is called before the digest is compared.
	atEnd func() error
	// good, where it is set, is called with the size when everything matches.
	good func(n int64)
	// blame, where it is set, returns the cause of an error of r.
	blame func(error) error
	close func() error
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	v.n += int64(n)
	if v.spend != nil {
		if err := v.spend(v.n); err != nil {
			return n, err
		}
	}
	if v.size >= 0 && v.n > v.size {
		return n, fmt.Errorf("%s has more than the %d bytes that are expected", v.what, v.size)
	}
	switch {
	case err == io.EOF:
		if checkErr := v.check(); checkErr != nil {
			return n, checkErr
		}
	case err != nil:
		err = fmt.Errorf("read %s: %w", v.what, err)
		if v.blame != nil {
			err = v.blame(err)
		}
	}
	return n, err
}

func (v *verifier) check() error {
	if v.atEnd != nil {
		if err := v.atEnd(); err != nil {
			return err
		}
	}
	if v.size >= 0 && v.n != v.size {
		return fmt.Errorf("%s has %d bytes, %d are expected", v.what, v.n, v.size)
	}
	if got := digest.NewDigest(v.want.Algorithm(), v.hash); got != v.want {
		return &DigestError{What: v.what, Want: v.want, Got: got}
	}
	if v.good != nil {
		v.good(v.n)
	}
	return nil
}

func (v *verifier) Close() error { return v.close() }
