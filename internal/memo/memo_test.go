package memo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
)

// opened opens the memo of a cache; the warnings go to warned.
func opened(t *testing.T, dir string, warned *[]error) *Memo {
	t.Helper()
	m := Open(t.Context(), dir, func(err error) {
		if warned == nil {
			t.Errorf("warning: %v", err)
			return
		}
		*warned = append(*warned, err)
	})
	t.Cleanup(func() { m.Close() })
	return m
}

var key = digest.FromString("key")

// entryPath returns where an entry is.
func entryPath(dir string, kind Kind, key digest.Digest) string {
	return filepath.Join(dir, subdir, string(kind), key.Encoded())
}

func TestEntries(t *testing.T) {
	dir := t.TempDir()
	m := opened(t, dir, nil)
	if _, ok := m.Get(Steps, key); ok {
		t.Error("found something in a new memo")
	}
	for _, data := range []string{"", "text", strings.Repeat("x", 1<<20)} {
		m.Put(Steps, key, []byte(data), 0)
		if got, ok := m.Get(Steps, key); !ok || string(got) != data {
			t.Errorf("%d bytes: found %d, %v", len(data), len(got), ok)
		}
	}
	if _, ok := m.Get(Listings, key); ok {
		t.Error("found an entry of another kind")
	}
	info := layer.Info{DiffID: digest.FromString("tar"), Size: 7}
	headers, portable := digest.FromString("headers"), digest.FromString("portable")
	m.KeepLayer(key, info, headers, 1)
	m.KeepPortable(key, portable, 1)
	if got, h, ok := opened(t, dir, nil).Layer(key); !ok || got != info || h != headers {
		t.Errorf("another process finds %v, %v, %v", got, h, ok)
	}
	if got, ok := opened(t, dir, nil).Portable(key); !ok || got != portable {
		t.Errorf("another process finds the portable key %v, %v", got, ok)
	}
	desc := v1.Descriptor{Digest: digest.FromString("blob"), Size: 5}
	m.KeepBlob(info.DiffID, "gz", desc)
	if got, ok := m.Blob(info.DiffID, "gz"); !ok || got.Digest != desc.Digest || got.Size != desc.Size {
		t.Errorf("blob: %v, %v", got, ok)
	}
	if _, ok := m.Blob(info.DiffID, "gz:9"); ok {
		t.Error("found what another compressor made")
	}
}

// TestDamage: no bit of an entry can change without its being lost.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	m := opened(t, dir, nil)
	m.Put(Layers, key, []byte(`{"digest":"d","size":1}`), 0)
	name := entryPath(dir, Layers, key)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(whole) {
		bad := bytes.Clone(whole)
		bad[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := m.Get(Layers, key); ok {
			t.Fatalf("with bit %d flipped: %q", i, got)
		}
	}
	for n := range whole {
		if err := os.WriteFile(name, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := m.Get(Layers, key); ok {
			t.Fatalf("cut after %d bytes: %q", n, got)
		}
	}
	other := digest.FromString("other")
	if err := os.WriteFile(entryPath(dir, Layers, other), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, ok := m.Get(Layers, other); ok {
		t.Errorf("an entry under another key: %q", got)
	}
}

// TestRacy: what was changed just now may change again without another stamp.
func TestRacy(t *testing.T) {
	m := opened(t, t.TempDir(), nil)
	for ago, want := range map[time.Duration]bool{0: false, time.Second: false, -time.Hour: false, time.Minute: true} {
		key := digest.FromString(ago.String())
		m.Put(Layers, key, nil, time.Now().Add(-ago).UnixNano())
		if _, ok := m.Get(Layers, key); ok != want {
			t.Errorf("changed %v ago: kept is %v", ago, ok)
		}
		if ok := m.Settled(time.Now().Add(-ago).UnixNano()); ok != want {
			t.Errorf("changed %v ago: settled is %v", ago, ok)
		}
	}
}

// TestRacyLong: however long it takes to make what is kept, it is when files were read that counts.
func TestRacyLong(t *testing.T) {
	m := opened(t, t.TempDir(), nil)
	changed := time.Now().UnixNano()
	m.began = m.began.Add(-time.Minute) // a minute goes by between reading and keeping
	m.Put(Layers, key, nil, changed-int64(time.Minute))
	if _, ok := m.Get(Layers, key); ok {
		t.Error("kept what was changed just before it was read")
	}
}

// TestClockSetBack: a clock that was set back since the memo was opened says nothing of when a file
// was changed.
func TestClockSetBack(t *testing.T) {
	m := opened(t, t.TempDir(), nil)
	m.began = m.began.Add(time.Hour)
	m.Put(Layers, key, nil, time.Now().Add(-time.Minute).UnixNano())
	if _, ok := m.Get(Layers, key); ok {
		t.Error("kept what may have been changed while it was read")
	}
	m.Put(Layers, key, nil, 0)
	if _, ok := m.Get(Layers, key); !ok {
		t.Error("what depends on no file is not kept")
	}
}

// TestOthers: what another user could have made is not believed.
func TestOthers(t *testing.T) {
	testtools.NeedRoot(t)
	const other = 54321
	entry := func(dir string) string { return entryPath(dir, Layers, key) }
	kind := func(dir string) string { return filepath.Dir(entry(dir)) }
	for name, change := range map[string]func(dir string) error{
		"entry of another user":     func(dir string) error { return os.Chown(entry(dir), other, 0) },
		"entry that others write":   func(dir string) error { return os.Chmod(entry(dir), 0o666) },
		"entry of a group":          func(dir string) error { return os.Chmod(entry(dir), 0o660) },
		"directory of another user": func(dir string) error { return os.Chown(kind(dir), other, 0) },
		"directory that all write":  func(dir string) error { return os.Chmod(kind(dir), 0o777) },
		"memo of another user":      func(dir string) error { return os.Chown(filepath.Join(dir, subdir), other, 0) },
		"memo that a group writes":  func(dir string) error { return os.Chmod(filepath.Join(dir, subdir), 0o770) },
		"cache of another user":     func(dir string) error { return os.Chown(dir, other, 0) },
		"cache that all write":      func(dir string) error { return os.Chmod(dir, 0o777|fs.ModeSticky) },
		"symlink": func(dir string) error {
			return errors.Join(os.Rename(entry(dir), dir+"/elsewhere"), os.Symlink(dir+"/elsewhere", entry(dir)))
		},
		"symlink to the directory": func(dir string) error {
			return errors.Join(os.Rename(kind(dir), dir+"/elsewhere"), os.Symlink(dir+"/elsewhere", kind(dir)))
		},
		"cache through a link of another user": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"-elsewhere"), os.Symlink(dir+"-elsewhere", dir), os.Lchown(dir, other, 0))
		},
		"FIFO for a cache": func(dir string) error { return errors.Join(os.RemoveAll(dir), syscall.Mkfifo(dir, 0o600)) },
		"FIFO": func(dir string) error {
			return errors.Join(os.Remove(entry(dir)), syscall.Mkfifo(entry(dir), 0o600))
		},
		"directory": func(dir string) error { return errors.Join(os.Remove(entry(dir)), os.Mkdir(entry(dir), 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opened(t, dir, nil).Put(Layers, key, []byte("x"), 0)
			if got, ok := opened(t, dir, nil).Get(Layers, key); !ok || string(got) != "x" {
				t.Fatalf("before: %q, %v", got, ok)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			var warned []error
			m := opened(t, dir, &warned)
			if got, ok := m.Get(Layers, key); ok {
				t.Errorf("found %q", got)
			}
			m.Put(Layers, key, []byte("y"), 0)
			m.Put(Layers, digest.FromString("more"), []byte("y"), 0)
			if len(warned) > 1 {
				t.Errorf("warned more than once: %v", warned)
			}
			if m == nil && len(warned) == 0 {
				t.Error("nobody was told that nothing is remembered")
			}
		})
	}
}

// TestUnwritable: nothing is settled where nothing can be kept.
func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	var warned []error
	m := opened(t, dir, &warned)
	if !m.Settled(0) {
		t.Error("no files are not settled")
	}
	m = opened(t, dir, &warned)
	name := filepath.Join(dir, subdir, string(Steps))
	if err := errors.Join(os.Remove(name), os.WriteFile(name, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if m.Settled(0) || len(warned) != 1 {
		t.Errorf("settled, or warnings %v", warned)
	}
}

func TestContents(t *testing.T) {
	dir := t.TempDir()
	m := opened(t, dir, nil)
	const text = "compressed"
	fill := func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	d, err := m.Keep(t.Context(), fill)
	if err != nil || d.Digest != digest.FromString(text) || d.Size != int64(len(text)) {
		t.Fatalf("%v, %v", d, err)
	}
	f, err := m.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	f.Close()
	if err != nil || string(got) != text {
		t.Errorf("%q, %v", got, err)
	}
	longer := d
	longer.Size++
	if _, err := m.Open(t.Context(), longer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of another size: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, subdir, contentName(d.Digest)), []byte("Compressed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(t.Context(), d); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged: %v", err)
	}
	if m.Has(d) {
		t.Error("what is damaged is still there")
	}
	broken := errors.New("broken")
	if _, err := m.Keep(t.Context(), func(io.Writer) error { return broken }); err != broken {
		t.Errorf("a filling that fails: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if _, err := m.Keep(ctx, fill); err != broken {
		t.Errorf("cancelled: %v", err)
	}
	names, err := os.ReadDir(filepath.Join(dir, subdir, contents))
	if err != nil || len(names) > 0 {
		t.Errorf("left are %v, %v", names, err)
	}
}

// TestNone: a nil Memo does nothing, and what it is asked to fill is filled.
func TestNone(t *testing.T) {
	var m *Memo
	m.Put(Layers, key, nil, 0)
	if _, ok := m.Get(Layers, key); ok || m.Has(v1.Descriptor{Digest: key}) || m.ForLayers() != nil || m.ForBlobs() != nil {
		t.Error("a nil Memo has something")
	}
	d, err := m.Keep(t.Context(), func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err })
	if err != nil || d.Digest != digest.FromString("x") {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := m.Open(t.Context(), d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestManyAtOnce: processes that keep the same things at once get in nobody's way.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			m := opened(t, dir, nil)
			for i := range 50 {
				text := strings.Repeat("x", i)
				m.Put(Steps, digest.FromString(text), []byte(text), 0)
				if got, ok := m.Get(Steps, digest.FromString(text)); !ok || string(got) != text {
					t.Errorf("%d: %q, %v", i, got, ok)
				}
				d, err := m.Keep(t.Context(), func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
				if err != nil || !m.Has(d) {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	wait.Wait()
}
