package layer_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// mapMemo is a Memo in memory.
type mapMemo struct {
	layers   map[digest.Digest]layer.Info
	names    map[digest.Digest]bool
	portable map[digest.Digest]digest.Digest
	headers  map[digest.Digest]digest.Digest
}

func newMapMemo() *mapMemo {
	return &mapMemo{map[digest.Digest]layer.Info{}, map[digest.Digest]bool{}, map[digest.Digest]digest.Digest{}, map[digest.Digest]digest.Digest{}}
}

func (m *mapMemo) Layer(key digest.Digest) (layer.Info, digest.Digest, bool) {
	info, ok := m.layers[key]
	return info, m.headers[key], ok
}
func (m *mapMemo) KeepLayer(key digest.Digest, info layer.Info, headers digest.Digest, _ int64) {
	m.layers[key], m.headers[key] = info, headers
}
func (m *mapMemo) Portable(key digest.Digest) (digest.Digest, bool) {
	portable, ok := m.portable[key]
	return portable, ok
}
func (m *mapMemo) KeepPortable(key, portable digest.Digest, _ int64) { m.portable[key] = portable }
func (m *mapMemo) Known(name digest.Digest) bool                     { return m.names[name] }
func (m *mapMemo) KeepName(name digest.Digest)                       { m.names[name] = true }

func mustInfo(t *testing.T, l *layer.Layer) layer.Info {
	t.Helper()
	info, err := l.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestMemo: a layer that is remembered is not read, and one that changed is.
func TestMemo(t *testing.T) {
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			root := smallTree(t)
			opts.Memo = newMapMemo()
			first := layer.New(owned(root, 0, 1), opts)
			info := mustInfo(t, first)
			if err := first.Write(context.Background(), io.Discard); err != nil {
				t.Fatal(err)
			}
			again := layer.New(owned(root, 0, 1), opts)
			if got := mustInfo(t, again); got != info || first.Reused() || !again.Reused() {
				t.Errorf("again: %v, want %v; reused %v, then %v", got, info, first.Reused(), again.Reused())
			}
			if err := again.Write(context.Background(), io.Discard); err != nil {
				t.Error(err)
			}
			if other := layer.New(owned(root, 0, 2), opts); mustInfo(t, other) == info || other.Reused() {
				t.Error("another owner makes the same layer")
			}
			if err := rewriteInSecret(filepath.Join(root, "m-large")); err != nil {
				t.Fatal(err)
			}
			changed := layer.New(owned(root, 0, 1), opts)
			if mustInfo(t, changed) == info || changed.Reused() {
				t.Error("a rewritten file makes the same layer")
			}
		})
	}
}

// TestMemoOfTexts: content that has no stamp counts itself.
func TestMemoOfTexts(t *testing.T) {
	opts := layer.Options{Memo: newMapMemo()}
	of := func(text string) *layer.Layer {
		return layer.New(func() tree.Seq {
			return func(yield func(*tree.Entry, error) bool) { yield(tree.NewFile("f", 0o644, text), nil) }
		}, opts)
	}
	one := mustInfo(t, of("one"))
	if two := mustInfo(t, of("two")); two == one {
		t.Error("two texts of one size make the same layer")
	}
	if l := of("one"); mustInfo(t, l) != one || !l.Reused() {
		t.Error("the same text is not known")
	}
}

// TestMemoOfOthers: a file that was read in place of another, with its size and time, is not
// remembered as that one, though it has its place again.
func TestMemoOfOthers(t *testing.T) {
	for _, size := range []int{100, 200_000} {
		dir := t.TempDir()
		name, other := filepath.Join(dir, "f"), filepath.Join(t.TempDir(), "other")
		if err := errors.Join(os.WriteFile(name, []byte(strings.Repeat("a", size)), 0o644), os.WriteFile(other, []byte(strings.Repeat("b", size)), 0o644)); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(other, st.ModTime(), st.ModTime()); err != nil {
			t.Fatal(err)
		}
		exchange := func() {
			if err := errors.Join(os.Rename(name, name+".x"), os.Rename(other, name), os.Rename(name+".x", other)); err != nil {
				t.Error(err)
			}
		}
		swap := true
		memo := newMapMemo()
		entries := func() tree.Seq {
			return func(yield func(*tree.Entry, error) bool) {
				for e, err := range tree.FromDir(dir, tree.DirOptions{}) {
					if err == nil && e.Path == "f" && swap {
						exchange()
					}
					if !yield(e, err) {
						return
					}
				}
			}
		}
		opts := layer.Options{Memo: memo, Title: "x"}
		wrong := mustInfo(t, layer.New(entries, opts))
		exchange()
		swap = false
		l := layer.New(entries, opts)
		if got := mustInfo(t, l); got == wrong || l.Reused() || len(memo.layers) != 1 {
			t.Errorf("%d bytes: %v, as while another file was there: %v; reused %v, %d layers kept", size, got, wrong, l.Reused(), len(memo.layers))
		}
	}
}

// TestKey: each field of a stamp counts.
func TestKey(t *testing.T) {
	of := func(s tree.Stamp) digest.Digest {
		e := tree.NewFile("f", 0o644, "text")
		e.Stamp = s
		key, _, err := layer.Key(t.Context(), tree.All([]*tree.Entry{e}), nil)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	stamp := tree.Stamp{Device: 1, Inode: 2, Change: 3, ModTime: 4, Offset: 5}
	key := of(stamp)
	if again := of(stamp); again != key {
		t.Error("one stamp has two keys")
	}
	for name, change := range map[string]func(*tree.Stamp){
		"device": func(s *tree.Stamp) { s.Device++ }, "inode": func(s *tree.Stamp) { s.Inode++ },
		"change time": func(s *tree.Stamp) { s.Change++ }, "modification time": func(s *tree.Stamp) { s.ModTime++ },
		"offset": func(s *tree.Stamp) { s.Offset++ },
	} {
		other := stamp
		change(&other)
		if of(other) == key {
			t.Errorf("another %s has the same key", name)
		}
	}
}

// TestKeyOfHeaders: all that a header says counts, and nothing can pass for something else.
func TestKeyOfHeaders(t *testing.T) {
	keys := map[digest.Digest]string{}
	add := func(name string, opts layer.Options, entries ...*tree.Entry) {
		t.Helper()
		memo := newMapMemo()
		opts.Memo = memo
		mustInfo(t, layer.New(func() tree.Seq { return tree.All(entries) }, opts))
		for key := range memo.layers {
			if other, ok := keys[key]; ok {
				t.Errorf("%s has the key of %s", name, other)
			}
			keys[key] = name
		}
		if len(memo.layers) != 1 {
			t.Errorf("%s: %d layers were kept", name, len(memo.layers))
		}
	}
	file := func(change func(*tree.Entry)) *tree.Entry {
		e := tree.NewFile("f", 0o644, "text")
		change(e)
		return e
	}
	for name, change := range map[string]func(*tree.Entry){
		"nothing": func(*tree.Entry) {}, "path": func(e *tree.Entry) { e.Path = "g" }, "mode": func(e *tree.Entry) { e.Mode = 0o755 },
		"user": func(e *tree.Entry) { e.UID = 1 }, "group": func(e *tree.Entry) { e.GID = 1 },
		"user's name": func(e *tree.Entry) { e.Uname = "a" }, "group's name": func(e *tree.Entry) { e.Gname = "a" },
		"time": func(e *tree.Entry) { e.ModTime = 1 }, "attribute": func(e *tree.Entry) { e.Xattrs = map[string]string{"user.a": "1"} },
		"attribute's value": func(e *tree.Entry) { e.Xattrs = map[string]string{"user.a": "2"} },
		"attribute's name":  func(e *tree.Entry) { e.Xattrs = map[string]string{"user.b": "1"} },
		"link":              func(e *tree.Entry) { *e = *tree.NewSymlink("f", "a") },
		"link's target":     func(e *tree.Entry) { *e = *tree.NewSymlink("f", "b") },
		"device":            func(e *tree.Entry) { *e = tree.Entry{Path: "f", Type: tree.Block, Devmajor: 1} },
		"device's minor":    func(e *tree.Entry) { *e = tree.Entry{Path: "f", Type: tree.Block, Devminor: 1} },
		"content":           func(e *tree.Entry) { *e = *tree.NewFile("f", 0o644, "txet") },
		"size":              func(e *tree.Entry) { *e = *tree.NewFile("f", 0o644, "texts") },
	} {
		add(name, layer.Options{}, file(change))
	}
	one := file(func(*tree.Entry) {})
	add("GNU's headers", layer.Options{Dialect: layer.GNU}, one)
	add("a prefix", layer.Options{Prefix: "./"}, one)
	add("two files", layer.Options{}, one, tree.NewFile("g", 0o644, "text"))
	add("content like an entry", layer.Options{}, tree.NewFile("f", 0o644, "text\x00g"))
}

// TestPushed: what an image tells of a layer spares reading it, and is compared when it is read all
// the same; then it is remembered.
func TestPushed(t *testing.T) {
	root := smallTree(t)
	opts := layer.Options{Immutable: true, Title: "told", Contents: func(context.Context) (string, bool, error) { return "hash", false, nil }}
	plain := layer.New(owned(root, 0, 1), opts)
	info := mustInfo(t, plain)
	key, err := plain.PortableKey(t.Context())
	if err != nil || key == "" {
		t.Fatalf("%q, %v", key, err)
	}
	tell := func(id digest.Digest) *layer.Layer {
		opts.Pushed = func(asked digest.Digest) (digest.Digest, bool) { return id, asked == key }
		return layer.New(owned(root, 0, 1), opts)
	}
	memo := newMapMemo()
	opts.Memo = memo
	l := tell(info.DiffID)
	if got := mustInfo(t, l); got != info || !l.Reused() || len(memo.layers) > 0 {
		t.Errorf("told %v, want %v; reused %v, %d remembered", got, info, l.Reused(), len(memo.layers))
	}
	if err := l.Write(t.Context(), io.Discard); err != nil || len(memo.layers) != 1 {
		t.Errorf("written: %v, %d remembered", err, len(memo.layers))
	}
	opts.Memo = newMapMemo()
	l = tell(digest.FromString("a lie"))
	var mismatch *layer.DigestError
	if err := l.Write(t.Context(), io.Discard); !errors.As(err, &mismatch) || mismatch.Got != info.DiffID || !strings.Contains(err.Error(), "used as a cache") {
		t.Errorf("a lie: %v", err)
	}
	opts.Contents = func(context.Context) (string, bool, error) { return "another hash", false, nil }
	l = tell(info.DiffID)
	if got := mustInfo(t, l); got != info || l.Reused() {
		t.Errorf("other contents: %v, reused %v", got, l.Reused())
	}
}

// TestPortable: a portable key that took a pass over the files is remembered for as long as the files
// are as they were, and is found again if they are touched meanwhile.
func TestPortable(t *testing.T) {
	root := smallTree(t)
	file := filepath.Join(root, "z-last")
	memo, asked := newMapMemo(), 0
	meanwhile := func() error { return nil }
	opts := layer.Options{Immutable: true, Title: "t", Memo: memo, Contents: func(context.Context) (string, bool, error) {
		asked++
		data, err := os.ReadFile(file)
		return string(data), true, errors.Join(err, meanwhile())
	}}
	find := func() (digest.Digest, error) {
		asked = 0
		return layer.New(owned(root, 0, 1), opts).PortableKey(t.Context())
	}
	key, err := find()
	if err != nil || key == "" || asked != 1 || len(memo.portable) != 1 {
		t.Fatalf("%q, %v, asked %d times, %d remembered", key, err, asked, len(memo.portable))
	}
	if again, err := find(); err != nil || again != key || asked != 0 {
		t.Errorf("again: %q, %v, want %q; asked %d times", again, err, key, asked)
	}
	clear(memo.portable)
	stated := opts
	stated.Contents = func(context.Context) (string, bool, error) { return "stated", false, nil }
	if other, err := layer.New(owned(root, 0, 1), stated).PortableKey(t.Context()); err != nil || other == key || len(memo.portable) > 0 {
		t.Errorf("what is stated and not read: %q, %v, %d remembered", other, err, len(memo.portable))
	}
	links := 0
	meanwhile = func() error { // as a store that is being optimised
		if links++; links > 1 {
			return nil
		}
		time.Sleep(20 * time.Millisecond) // the clock of change times may be that coarse
		return os.Link(file, filepath.Join(t.TempDir(), "link"))
	}
	if again, err := find(); err != nil || again != key || asked != 2 {
		t.Errorf("touched meanwhile: %q, %v, want %q; asked %d times", again, err, key, asked)
	}
	clear(memo.portable)
	meanwhile = func() error { return rewriteInSecret(file) }
	if again, err := find(); err == nil || len(memo.portable) > 0 {
		t.Errorf("changed meanwhile: %q, %d remembered", again, len(memo.portable))
	}
}
