package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/layer"
)

// source has blobs and counts how often they are fetched.
type source struct {
	blobs   map[digest.Digest][]byte
	fetched atomic.Int32
}

func newSource(texts ...string) (*source, []v1.Descriptor) {
	s := &source{blobs: map[digest.Digest][]byte{}}
	var descs []v1.Descriptor
	for _, t := range texts {
		d := digest.FromString(t)
		s.blobs[d] = []byte(t)
		descs = append(descs, v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: d, Size: int64(len(t))})
	}
	return s, descs
}

func (s *source) fetch(d v1.Descriptor) FetchFunc {
	return func(context.Context) (io.ReadCloser, error) {
		s.fetched.Add(1)
		return io.NopCloser(bytes.NewReader(s.blobs[d.Digest])), nil
	}
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func read(t testing.TB, s *Store, d v1.Descriptor, fetch FetchFunc) (string, error) {
	t.Helper()
	f, err := s.Blob(t.Context(), d, fetch)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	return string(data), err
}

// left lists the files of a cache, except the layout's own.
func left(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != v1.ImageLayoutFile && d.Name() != v1.ImageIndexFile && d.Name() != usersName {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestOneFetch: of many users at once one fetches, and later ones none.
func TestOneFetch(t *testing.T) {
	dir := t.TempDir()
	src, descs := newSource(strings.Repeat("x", 3<<20), "y")
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			s, err := Open(t.Context(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for _, d := range descs {
				if got, err := read(t, s, d, src.fetch(d)); err != nil || got != string(src.blobs[d.Digest]) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	wait.Wait()
	if n := src.fetched.Load(); n != 2 {
		t.Errorf("2 blobs were fetched %d times", n)
	}
	if got, err := read(t, openStore(t, dir), descs[0], nil); err != nil || got != string(src.blobs[descs[0].Digest]) {
		t.Errorf("offline: %d bytes, %v", len(got), err)
	}
	if names := left(t, dir); len(names) != 2 {
		t.Errorf("the cache holds %q", names)
	}
}

// TestDamaged: a blob that does not match its digest is fetched again, or an
// error.
func TestDamaged(t *testing.T) {
	src, descs := newSource("hello")
	d := descs[0]
	for name, damage := range map[string]func(path string) error{
		"flipped bit": func(path string) error { return os.WriteFile(path, []byte("hellp"), 0o644) },
		"cut":         func(path string) error { return os.Truncate(path, 2) },
		"empty":       func(path string) error { return os.Truncate(path, 0) },
		"longer":      func(path string) error { return os.WriteFile(path, []byte("hello!"), 0o644) },
		"symlink":     func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) },
		"fifo":        func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := read(t, openStore(t, dir), d, src.fetch(d)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "blobs", "blobs", "sha256", d.Digest.Encoded())
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			_, err := read(t, openStore(t, dir), d, nil)
			var mismatch *layer.DigestError
			if special := name == "symlink" || name == "fifo"; err == nil || errors.As(err, &mismatch) == special || !strings.Contains(err.Error(), dir) {
				t.Errorf("offline: %v", err)
			}
			if got, err := read(t, openStore(t, dir), d, src.fetch(d)); err != nil || got != "hello" {
				t.Errorf("fetched again: %q, %v", got, err)
			}
			if got, err := read(t, openStore(t, dir), d, nil); err != nil || got != "hello" {
				t.Errorf("offline, mended: %q, %v", got, err)
			}
		})
	}
}

// TestDamagedMeanwhile: a blob that was good a moment ago is compared again when
// it has changed.
func TestDamagedMeanwhile(t *testing.T) {
	src, descs := newSource("hello")
	d, s := descs[0], openStore(t, t.TempDir())
	if _, err := read(t, s, d, src.fetch(d)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.root.Name(), "blobs", "sha256", d.Digest.Encoded()), []byte("hello, you"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, s, d, nil); err == nil {
		t.Errorf("read %q", got)
	}
}

// TestBadSource: wrong content from a source is not kept.
func TestBadSource(t *testing.T) {
	broken := errors.New("broken")
	good, descs := newSource("hello")
	d := descs[0]
	for name, fetch := range map[string]FetchFunc{
		"other bytes": func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("hellp")), nil },
		"too short":   func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("hell")), nil },
		"too long":    func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("hello!")), nil },
		"error":       func(context.Context) (io.ReadCloser, error) { return nil, broken },
	} {
		dir := t.TempDir()
		s := openStore(t, dir)
		if got, err := read(t, s, d, fetch); err == nil {
			t.Errorf("%s: read %q", name, got)
		}
		if names := left(t, dir); len(names) > 0 {
			t.Errorf("%s: left are %q", name, names)
		}
		if got, err := read(t, s, d, good.fetch(d)); err != nil || got != "hello" {
			t.Errorf("%s: then %q, %v", name, got, err)
		}
	}
	var missing *AbsentError
	if _, err := read(t, openStore(t, t.TempDir()), d, nil); !errors.As(err, &missing) || missing.Digest != d.Digest {
		t.Errorf("not there: %v", err)
	}
	wrong := d
	wrong.Size++
	s := openStore(t, t.TempDir())
	if _, err := read(t, s, d, good.fetch(d)); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, wrong, nil); err == nil || !strings.Contains(err.Error(), "5 bytes, 6 are expected") {
		t.Errorf("another size: %v", err)
	}
}

// TestLeftovers: what a killed process has left does not disturb.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	src, descs := newSource("hello")
	s := openStore(t, dir)
	hex := descs[0].Digest.Encoded()
	for _, name := range []string{lockName(descs[0].Digest), "blobs/sha256/." + hex + ".varve-XYZ"} {
		if err := os.WriteFile(filepath.Join(s.root.Name(), name), []byte("a longer beginning"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := read(t, s, descs[0], src.fetch(descs[0])); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if names := left(t, dir); len(names) != 1 || names[0] != hex {
		t.Errorf("the cache holds %q", names)
	}
}

// TestCancel: waiting for another's download ends with the context.
func TestCancel(t *testing.T) {
	src, descs := newSource("hello")
	d, dir := descs[0], t.TempDir()
	s, other := openStore(t, dir), openStore(t, dir)
	begun, done := make(chan struct{}), make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := other.Blob(t.Context(), d, func(context.Context) (io.ReadCloser, error) {
			close(begun)
			<-ctx.Done()
			return src.fetch(d)(ctx)
		})
		done <- err
	}()
	<-begun
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := s.Blob(ctx, d, src.fetch(d)); !errors.Is(err, context.Canceled) {
		t.Errorf("while another fetches: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestLayoutAsCache: a layout that somebody else made is a cache.
func TestLayoutAsCache(t *testing.T) {
	src, descs := newSource("hello")
	first := openStore(t, t.TempDir())
	if _, err := read(t, first, descs[0], src.fetch(descs[0])); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, openStore(t, first.root.Name()), descs[0], nil); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBadPlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	full := filepath.Join(dir, "full")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.MkdirAll(filepath.Join(full, "blobs", "other"), 0o755)); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{file, fifo, filepath.Join(file, "below"), full} {
		var bad *DirError
		if _, err := Open(t.Context(), place); !errors.As(err, &bad) || bad.Dir != place {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// TestNoLinks: a cache is not followed out of its directory.
func TestNoLinks(t *testing.T) {
	other := openStore(t, t.TempDir())
	putImage(t, other, "kept")
	other.Close()
	before := left(t, other.dir)
	for _, name := range []string{"blobs", "blobs/blobs", "blobs/blobs/sha256", "blobs/blobs/sha512"} {
		dir := t.TempDir()
		s := openStore(t, dir)
		s.Close()
		at := filepath.Join(dir, name)
		if err := errors.Join(os.RemoveAll(at), os.Symlink(filepath.Join(other.dir, name), at)); err != nil {
			t.Fatal(err)
		}
		for _, open := range []func(context.Context, string) (*Store, error){Open, OpenExclusive} {
			var bad *DirError
			if s, err := open(t.Context(), dir); !errors.As(err, &bad) || !strings.Contains(err.Error(), "not a directory: remove it") {
				t.Errorf("%s: %v, %v", name, s, err)
			}
		}
	}
	if got := left(t, other.dir); !slices.Equal(got, before) {
		t.Errorf("of the other cache there is %q, it was %q", got, before)
	}
	// The user names the directory itself, perhaps by a link.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(other.dir, link); err != nil {
		t.Fatal(err)
	}
	if images, _, err := openStore(t, link).List(t.Context()); err != nil || len(images) != 1 {
		t.Errorf("%d images, %v", len(images), err)
	}
}
