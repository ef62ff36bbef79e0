package cachedir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/memo"
)

const size = 100 << 10

// addImage puts an image into a cache that takes size bytes and was used some time ago.
func addImage(t *testing.T, dir, name string, ago time.Duration) {
	t.Helper()
	s, err := cache.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(mediaType, text string) v1.Descriptor {
		d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(text), Size: int64(len(text))}
		f, err := s.Blob(t.Context(), d, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		return d
	}
	layer := put(v1.MediaTypeImageLayer, name+strings.Repeat("x", size))
	config := put(v1.MediaTypeImageConfig, "{}")
	d := put(v1.MediaTypeImageManifest, fmt.Sprintf(
		`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		config.MediaType, config.Digest, layer.MediaType, layer.Digest, layer.Size))
	if err := s.Use(t.Context(), d, name+"@"+d.Digest.String(), name, time.Now().Add(-ago)); err != nil {
		t.Fatal(err)
	}
	if !s.Added() {
		t.Error("nothing was added")
	}
}

// addBlob puts a compressed layer of size bytes into a memo that was used some time ago.
func addBlob(t *testing.T, dir, text string, ago time.Duration) {
	t.Helper()
	m := memo.Open(t.Context(), dir, func(err error) { t.Error(err) })
	defer m.Close()
	d, err := m.Keep(t.Context(), func(w io.Writer) error {
		_, err := io.WriteString(w, text+strings.Repeat("x", size))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := filepath.Glob(filepath.Join(dir, "memo/blobs/*"))
	m.KeepBlob(digest.FromString(text), "gz", d)
	then := time.Now().Add(-ago)
	after, _ := filepath.Glob(filepath.Join(dir, "memo/blobs/*"))
	for _, name := range append(after, filepath.Join(dir, "memo/contents", d.Digest.Encoded())) {
		if strings.Contains(strings.Join(before, " "), name) {
			continue
		}
		if err := os.Chtimes(name, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if !m.Kept() {
		t.Error("nothing was kept")
	}
}

func noWarning(t *testing.T) func(error) {
	return func(err error) { t.Errorf("warning: %v", err) }
}

// state says which of the images, and how many compressed layers, there are.
func state(t *testing.T, dir string) string {
	t.Helper()
	l, err := List(t.Context(), dir, noWarning(t))
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, img := range l.Images {
		parts = append(parts, img.FullName)
	}
	for _, k := range l.Kinds {
		parts = append(parts, fmt.Sprintf("%d %s", k.Count, k.Name))
	}
	return strings.Join(parts, ", ")
}

// filled makes a cache with two images and two compressed layers, from which the times are hours.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	addImage(t, dir, "oldest", 4*time.Hour)
	addBlob(t, dir, "old", 3*time.Hour)
	addImage(t, dir, "young", 2*time.Hour)
	addBlob(t, dir, "youngest", time.Hour)
	return dir
}

// TestLimit: what was not used for longest goes first, images and the rest in one order.
func TestLimit(t *testing.T) {
	for _, c := range []struct {
		limit int64
		want  string
	}{
		{10 * size, "oldest, young, 2 blobs, 2 contents"},
		{4 * size, "young, 2 blobs, 2 contents"},
		{3 * size, "young, 1 blobs, 1 contents"},
		{2 * size, "1 blobs, 1 contents"},
		{size, ""},
	} {
		dir := filled(t)
		if err := Limit(t.Context(), dir, c.limit); err != nil {
			t.Fatal(err)
		}
		if got := state(t, dir); got != c.want {
			t.Errorf("limit %d: there are %q, want %q", c.limit, got, c.want)
		}
	}
}

// TestUnnamed: what nothing refers to goes before all else, and only if something has to go.
func TestUnnamed(t *testing.T) {
	dir := filled(t)
	addBlob(t, dir, "unnamed", 0)
	names, err := filepath.Glob(filepath.Join(dir, "memo/blobs/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) < time.Minute {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		limit int64
		want  string
	}{{10 * size, "oldest, young, 2 blobs, 3 contents"}, {5 * size, "oldest, young, 2 blobs, 2 contents"}} {
		if err := Limit(t.Context(), dir, c.limit); err != nil {
			t.Fatal(err)
		}
		if got := state(t, dir); got != c.want {
			t.Errorf("limit %d: there are %q, want %q", c.limit, got, c.want)
		}
	}
}

// TestBusy: nothing is removed that another process uses, and nobody waits.
func TestBusy(t *testing.T) {
	dir := filled(t)
	all := state(t, dir)
	m := memo.Open(t.Context(), dir, noWarning(t))
	s, err := cache.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		end  func() error
		want string
	}{{m.Close, all}, {s.Close, "oldest, young"}, {func() error { return nil }, ""}} {
		began := time.Now()
		if err := Limit(t.Context(), dir, 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if got := state(t, dir); got != c.want {
			t.Errorf("there are %q, want %q", got, c.want)
		}
		if err := c.end(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrune(t *testing.T) {
	dir := filled(t)
	for _, c := range []struct {
		opts   PruneOptions
		images int
		items  int
		want   string
	}{
		{PruneOptions{}, 0, 0, "oldest, young, 2 blobs, 2 contents"},
		{PruneOptions{All: true, DryRun: true}, 2, 4, "oldest, young, 2 blobs, 2 contents"},
		{PruneOptions{Before: time.Now().Add(-150 * time.Minute)}, 1, 2, "young, 1 blobs, 1 contents"},
		{PruneOptions{Max: 2 * size}, 1, 0, "1 blobs, 1 contents"},
		{PruneOptions{All: true}, 0, 2, ""},
	} {
		p, err := Prune(t.Context(), dir, c.opts, noWarning(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Images) != c.images || len(p.Items) != c.items {
			t.Errorf("%+v: %d images and %d items, want %d and %d", c.opts, len(p.Images), len(p.Items), c.images, c.items)
		}
		if got := state(t, dir); got != c.want {
			t.Errorf("%+v: there are %q, want %q", c.opts, got, c.want)
		}
	}
}

// TestOneOnly: a cache of which one part is not there, or is of no use.
func TestOneOnly(t *testing.T) {
	empty := t.TempDir()
	if got := state(t, empty); got != "" {
		t.Errorf("an empty one has %q", got)
	}
	if names, err := os.ReadDir(empty); err != nil || len(names) > 0 {
		t.Errorf("listing made %v, %v", names, err)
	}
	dir := t.TempDir()
	addImage(t, dir, "only", 0)
	if got := state(t, dir); got != "only" {
		t.Errorf("there are %q", got)
	}
	addBlob(t, dir, "text", 0)
	if err := os.Chmod(filepath.Join(dir, "memo"), 0o777); err != nil {
		t.Fatal(err)
	}
	var warned []error
	warn := func(err error) { warned = append(warned, err) }
	l, err := List(t.Context(), dir, warn)
	if err != nil || len(l.Images) != 1 || len(l.Kinds) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := Prune(t.Context(), dir, PruneOptions{All: true}, warn); err != nil {
		t.Error(err)
	}
	if len(warned) != 2 || !strings.Contains(warned[0].Error(), "others can write") {
		t.Errorf("warned %v", warned)
	}
	if _, err := Verify(t.Context(), filepath.Join(empty, "none"), func(err error) { t.Error(err) }, noWarning(t)); err != nil {
		t.Error(err)
	}
}

func TestVerify(t *testing.T) {
	dir := filled(t)
	check := func(want int) {
		t.Helper()
		var found []error
		v, err := Verify(t.Context(), dir, func(err error) { found = append(found, err) }, noWarning(t))
		if err != nil || len(found) != want || v.Images != 2 {
			t.Errorf("%+v, %v, %v; want %d", v, found, err, want)
		}
	}
	check(0)
	for _, pattern := range []string{"blobs/blobs/sha256/*", "memo/contents/*", "memo/blobs/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		largest := names[0]
		for _, name := range names {
			if stat(t, name).Size() > stat(t, largest).Size() {
				largest = name
			}
		}
		data, err := os.ReadFile(largest)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(largest, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check(3)
	check(1) // a base image is mended by fetching it again
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, dir, func(error) {}, noWarning(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func stat(t *testing.T, name string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
