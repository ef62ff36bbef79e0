package memo

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/flock"
)

// keptBlob keeps a blob and what says that a tar is compressed to it, as a build does.
func keptBlob(t *testing.T, m *Memo, text string) v1.Descriptor {
	t.Helper()
	d, err := m.Keep(t.Context(), func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
	if err != nil {
		t.Fatal(err)
	}
	m.KeepBlob(digest.FromString("tar of "+text), "gz", d)
	return d
}

func age(t *testing.T, dir, name string, ago time.Duration) {
	t.Helper()
	then := time.Now().Add(-ago)
	if err := os.Chtimes(filepath.Join(dir, subdir, name), then, then); err != nil {
		t.Fatal(err)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	m := opened(t, dir, nil)
	old, young, unnamed := keptBlob(t, m, "old"), keptBlob(t, m, "young"), keptBlob(t, m, "unnamed")
	m.Put(Layers, key, []byte("x"), 0)
	entry := func(text string) string {
		return filepath.Join(string(Blobs), blobKey(digest.FromString("tar of "+text), "gz").Encoded())
	}
	age(t, dir, contentName(old.Digest), time.Hour)
	age(t, dir, entry("old"), time.Hour)
	if err := os.Remove(filepath.Join(dir, subdir, entry("unnamed"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"contents/.new.varve-ABC", "layers/." + key.Encoded() + ".varve-ABC"} {
		if err := os.WriteFile(filepath.Join(dir, subdir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := TryExclusive(t.Context(), dir); !errors.As(err, new(*flock.BusyError)) {
		t.Errorf("while it is used: %v", err)
	}
	m.Close()
	look, err := Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	would, err := look.Prune(t.Context(), time.Now().Add(-time.Minute), true)
	if err != nil {
		t.Fatal(err)
	}
	m, err = TryExclusive(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	gone, err := m.Prune(t.Context(), time.Now().Add(-time.Minute), false)
	if err != nil {
		t.Fatal(err)
	}
	got := names(gone)
	want := []string{entry("old"), contentName(old.Digest), contentName(unnamed.Digest)}
	slices.Sort(want)
	if !slices.Equal(got, want) || !slices.Equal(names(would), want) {
		t.Errorf("removed %q, would have removed %q, want %q", got, names(would), want)
	}
	if !m.Has(young) || m.Has(old) || m.Has(unnamed) {
		t.Error("there are other contents")
	}
	left, _ := filepath.Glob(filepath.Join(dir, subdir, "*", ".*"))
	if len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

func names(items []Item) []string {
	var list []string
	for _, item := range items {
		list = append(list, item.name())
	}
	slices.Sort(list)
	return list
}

// TestUse: what is used is younger than what is not.
func TestUse(t *testing.T) {
	dir := t.TempDir()
	m := opened(t, dir, nil)
	d := keptBlob(t, m, "text")
	m.Put(Layers, key, nil, 0)
	age(t, dir, contentName(d.Digest), time.Hour)
	age(t, dir, filepath.Join(string(Layers), key.Encoded()), time.Hour)
	f, err := m.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	m.Get(Layers, key)
	items, err := m.List(t.Context())
	if err != nil || len(items) != 3 {
		t.Fatalf("%v, %v", items, err)
	}
	for _, item := range items {
		if time.Since(item.Used) > time.Minute {
			t.Errorf("%v was used %v", item, item.Used)
		}
	}
}

// TestVerify: what is damaged is reported and removed, and nothing else.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	m := opened(t, dir, nil)
	good, bad := keptBlob(t, m, "good"), keptBlob(t, m, "bad")
	m.Put(Layers, key, []byte("x"), 0)
	m.Put(Steps, key, []byte("x"), 0)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, subdir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(contentName(bad.Digest), "Bad")
	write("steps/"+key.Encoded(), magic)
	write("steps/README", "mine")
	if err := os.Mkdir(filepath.Join(dir, subdir, "listings"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, subdir, "listings"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{
		{"content " + bad.Digest.String() + ": it is damaged", "entry steps/" + key.Encoded(), "listings", "README"},
		{"listings", "README"},
	} {
		var found []string
		n, err := opened(t, dir, nil).Verify(t.Context(), func(err *DamagedError) { found = append(found, err.Error()) })
		if err != nil || n != 4 || len(found) != len(want) {
			t.Errorf("%d are good, %q, %v", n, found, err)
		}
		for _, words := range want {
			if !strings.Contains(strings.Join(found, "\n"), words) {
				t.Errorf("no word of %q in %q", words, found)
			}
		}
	}
	if !m.Has(good) || m.Has(bad) {
		t.Error("the damaged one is there, or the good one is not")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Verify(ctx, func(*DamagedError) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Look(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a memo: %v", err)
	}
}
