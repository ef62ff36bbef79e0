package memo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
)

// bufferSize is how much is hashed at once: what has just been read is still in the processor's
// cache then.
const bufferSize = 128 << 10

// buffers has those that nothing uses now.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func contentName(d digest.Digest) string { return path.Join(contents, d.Encoded()) }

// Has reports whether content is there, by its SHA-256 and size.
func (m *Memo) Has(d v1.Descriptor) bool {
	if m == nil || !m.ours(contents) {
		return false
	}
	info, err := m.root.Lstat(contentName(d.Digest))
	return err == nil && info.Mode().IsRegular() && info.Size() == d.Size
}

// Open opens content by its SHA-256 and size, which it compares first: content that is damaged is
// removed and does not exist. It returns fs.ErrNotExist, wrapped, for what is not there.
func (m *Memo) Open(ctx context.Context, d v1.Descriptor) (*os.File, error) {
	if !m.Has(d) {
		return nil, fmt.Errorf("cache %q: content %s: %w", m.Dir(), d.Digest, fs.ErrNotExist)
	}
	f, err := m.open(contentName(d.Digest), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	sum, err := sumOf(ctx, f)
	if err == nil && sum != d.Digest {
		_ = m.root.Remove(contentName(d.Digest)) // otherwise it is compared again
		err = fmt.Errorf("cache %q: content %s is damaged: %w", m.dir, d.Digest, fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	touch(f)
	return f, nil
}

// sumOf returns the digest of an open file, which it leaves at its start.
func sumOf(ctx context.Context, f *os.File) (digest.Digest, error) {
	sum := sha256.New()
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	_, err := io.CopyBuffer(struct{ io.Writer }{sum}, ctxio.Reader(ctx, f), buf[:])
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return digest.NewDigest(digest.SHA256, sum), err
}

// Keep keeps what fill writes, and returns its digest and size. What cannot be kept is reported
// once, as by Put; an error is fill's own. On a nil Memo fill is called all the same.
func (m *Memo) Keep(ctx context.Context, fill func(io.Writer) error) (v1.Descriptor, error) {
	k := &keeper{ctx: ctx, m: m, hash: sha256.New()}
	k.create()
	defer k.abort()
	if err := fill(k); err != nil {
		return v1.Descriptor{}, err
	}
	return k.commit(), nil
}

// keeper hashes what is written to it and writes it to a file, as long as that goes well.
type keeper struct {
	ctx  context.Context
	m    *Memo
	file *atomicfile.File // nil where nothing is kept
	hash hash.Hash
	size int64
}

func (k *keeper) create() {
	if k.m == nil {
		return
	}
	err := k.m.makeDir(contents)
	if err == nil {
		k.file, err = atomicfile.CreateIn(k.m.root, path.Join(contents, "new"))
	}
	if err == nil {
		err = k.file.Chmod(0o600)
	}
	if err != nil {
		k.fail(err)
	}
}

// fail goes on without keeping anything.
func (k *keeper) fail(err error) {
	k.abort()
	k.m.fail(err)
}

func (k *keeper) abort() {
	if k.file != nil {
		k.file.Abort()
		k.file = nil
	}
}

func (k *keeper) Write(p []byte) (int, error) {
	if err := k.ctx.Err(); err != nil {
		return 0, context.Cause(k.ctx)
	}
	k.hash.Write(p)
	k.size += int64(len(p))
	if k.file != nil {
		if _, err := k.file.Write(p); err != nil {
			k.fail(err)
		}
	}
	return len(p), nil
}

func (k *keeper) commit() v1.Descriptor {
	d := v1.Descriptor{Digest: digest.NewDigest(digest.SHA256, k.hash), Size: k.size}
	if k.file == nil {
		return d
	}
	file := k.file
	k.file = nil
	if err := file.CommitUnsynced(d.Digest.Encoded()); err != nil {
		k.m.fail(err)
		return d
	}
	k.m.noteKept()
	return d
}
