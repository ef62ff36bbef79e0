package memo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/regfile"
)

// Contents is the kind of large contents, which are there by their digests. It has no entries.
const Contents Kind = contents

// Item is an entry or a content of a memo.
type Item struct {
	Kind Kind
	// Key is the entry's key, or the content's digest.
	Key  digest.Digest
	Size int64
	// Used is when it was used last; it is zero for a content that no entry names.
	Used time.Time
}

func (i Item) name() string { return path.Join(string(i.Kind), i.Key.Encoded()) }

func (i Item) String() string {
	if i.Kind == Contents {
		return "content " + i.Key.String()
	}
	return "entry " + i.name()
}

// listed lists the kinds of items.
func listed() []Kind { return append(Kinds(), Contents) }

// List lists all that a memo has. It reads the entries if there are contents: the time of a content
// that none of them names is zero.
func (m *Memo) List(ctx context.Context) ([]Item, error) {
	var items []Item
	unnamed := map[string]*Item{}
	err := m.each(ctx, func(kind Kind, name string, info fs.FileInfo) error {
		if key, ok := keyOf(name); ok && info.Mode().IsRegular() {
			items = append(items, Item{kind, key, info.Size(), info.ModTime()})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range items {
		if items[i].Kind == Contents {
			unnamed[items[i].Key.Encoded()] = &items[i]
		}
	}
	for _, item := range items {
		if len(unnamed) == 0 {
			break
		}
		if item.Kind != Contents {
			m.findNames(ctx, item, func(digits string) { delete(unnamed, digits) })
		}
	}
	for _, item := range unnamed {
		item.Used = time.Time{}
	}
	return items, context.Cause(ctx)
}

// each calls do with the files of a memo, in no order.
func (m *Memo) each(ctx context.Context, do func(kind Kind, name string, info fs.FileInfo) error) error {
	for _, kind := range listed() {
		if !m.ours(string(kind)) {
			continue
		}
		dir, err := m.root.OpenRoot(string(kind))
		if err == nil {
			err = eachIn(ctx, dir, func(name string, info fs.FileInfo) error { return do(kind, name, info) })
			dir.Close()
		}
		if err != nil {
			return fmt.Errorf("cache %q: directory %q: %w", m.dir, subdir+"/"+string(kind), regfile.Cause(err))
		}
	}
	return nil
}

func eachIn(ctx context.Context, dir *os.Root, do func(name string, info fs.FileInfo) error) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			info, err := dir.Lstat(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // another process has removed it
			}
			if err == nil {
				err = do(name, info)
			}
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// keyOf returns the key that a file is named after.
func keyOf(name string) (digest.Digest, bool) {
	d := digest.NewDigestFromEncoded(digest.SHA256, name)
	return d, d.Validate() == nil
}

// leftover reports whether a file has the name of one that is being written, or was when its process
// was killed.
func leftover(name string) bool { return strings.HasPrefix(name, ".") }

// findNames calls found with each run of 64 hexadecimal digits in an entry: it may be the name of a
// content.
func (m *Memo) findNames(ctx context.Context, item Item, found func(digits string)) {
	f, err := m.open(item.name(), maxEntry)
	if err != nil {
		return // it names nothing that could be found
	}
	defer f.Close()
	r := bufio.NewReaderSize(ctxio.Reader(ctx, f), 64<<10)
	if n, err := r.Discard(headSize); err != nil || n < headSize {
		return
	}
	const size = 64
	var run []byte
	for {
		c, err := r.ReadByte()
		if err == nil && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			if len(run) <= size { // one that is longer is no name
				run = append(run, c)
			}
			continue
		}
		if len(run) == size {
			found(string(run))
		}
		if err != nil {
			return
		}
		run = run[:0]
	}
}

// DamagedError says what is wrong with something in a memo.
type DamagedError struct {
	// Dir is the cache's directory, and What names the entry, the content or the file.
	Dir, What string
	Err       error
	// Removed says that it was removed.
	Removed bool
}

func (e *DamagedError) Error() string {
	done := "remove it"
	if e.Removed {
		done = "it was removed"
	}
	return fmt.Sprintf("cache %q: %s: %v: %s", e.Dir, e.What, e.Err, done)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Verify reads everything in a memo. It removes what is damaged, or could be another user's, and
// reports it with what else does not belong there. It returns how many entries and contents are
// as they should be.
func (m *Memo) Verify(ctx context.Context, report func(*DamagedError)) (good int, err error) {
	for _, kind := range listed() {
		if _, err := m.root.Lstat(string(kind)); err == nil && !m.ours(string(kind)) {
			report(&DamagedError{Dir: m.dir, What: fmt.Sprintf("%q", path.Join(subdir, string(kind))), Err: errNotOurs})
		}
	}
	err = m.each(ctx, func(kind Kind, name string, info fs.FileInfo) error {
		key, ok := keyOf(name)
		if !ok {
			if !leftover(name) {
				report(&DamagedError{Dir: m.dir, What: fmt.Sprintf("%q", path.Join(subdir, string(kind), name)), Err: errors.New("it is not the cache's")})
			}
			return nil
		}
		item := Item{Kind: kind, Key: key, Size: info.Size()}
		err := m.verify(ctx, item)
		if errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
			return nil // another process has removed it
		}
		if err == nil {
			good++
			return nil
		}
		report(&DamagedError{Dir: m.dir, What: item.String(), Err: regfile.Cause(err), Removed: m.root.Remove(item.name()) == nil})
		return nil
	})
	return good, err
}

// verify checks an item.
func (m *Memo) verify(ctx context.Context, item Item) error {
	limit := int64(maxEntry)
	if item.Kind == Contents {
		limit = math.MaxInt64
	}
	f, err := m.open(item.name(), limit)
	if err != nil {
		return err
	}
	defer f.Close()
	if item.Kind != Contents {
		_, err := read(ctxio.Reader(ctx, f), item.Kind, item.Key)
		return err
	}
	sum, err := sumOf(ctx, f)
	if err == nil && sum != item.Key {
		err = fmt.Errorf("it is damaged: its digest is %s", sum)
	}
	return err
}
