package base_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// site is a registry with an image, and a cache.
type site struct {
	host     string
	manifest v1.Descriptor
	requests atomic.Int32
	opts     base.Options
	cache    *cache.Lazy
	lock     string
}

func newSite(t *testing.T) *site {
	s := &site{}
	handler := ociserver.New(ocimem.New(), nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	options := registry.Options{InsecureHosts: []string{s.host}, Retries: -1}
	dir := t.TempDir()
	s.lock = filepath.Join(dir, lockfile.Name)
	s.cache = &cache.Lazy{Dir: filepath.Join(dir, "cache")}
	t.Cleanup(func() { s.cache.Close() })
	s.opts = base.Options{
		Places:       place.Options{Registry: func(string) (registry.Options, error) { return options, nil }},
		Architecture: "amd64", Cache: s.cache.Open,
	}
	file := tree.NewFile("motd", 0o644, "hello\n")
	l := layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) { yield(file, nil) }
	}, layer.Options{Title: "motd"})
	img := image.New(image.Description{
		Layers: []image.Layer{l}, History: make([]image.History, 1), Created: "1970-01-01T00:00:01Z", Architecture: "amd64", OS: "linux",
	})
	var err error
	if s.manifest, err = registry.Push(t.Context(), s.host+"/app:1", img, registry.PushOptions{Options: options}); err != nil {
		t.Fatal(err)
	}
	return s
}

// open opens the base image that a reference names.
func (s *site) open(t *testing.T, ref string, change func(*base.Options)) (*image.Stored, error) {
	t.Helper()
	opts := s.opts
	if change != nil {
		change(&opts)
	}
	r := base.New(opts)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	s.requests.Store(0)
	return r.Open(t.Context(), spec.Base{Reference: ref, Written: ref}, s.lock)
}

func (s *site) tagged() string { return "docker://" + s.host + "/app:1" }

func (s *site) digested() string {
	return fmt.Sprintf("docker://%s/app@%s", s.host, s.manifest.Digest)
}

func locked(o *base.Options)   { o.Locked = true }
func unlocked(o *base.Options) { o.Unlocked = true }
func uncached(o *base.Options) { o.Cache = nil }

// TestPinned: an image that is pinned, by digest or by varve.lock, is found, the first time in
// the registry and then in the cache; a tag alone is refused, unless the options allow it.
func TestPinned(t *testing.T) {
	s := newSite(t)
	var unpinned *base.UnpinnedError
	if _, err := s.open(t, s.tagged(), nil); !errors.As(err, &unpinned) || s.requests.Load() > 0 {
		t.Errorf("a tag: %v, and %d requests", err, s.requests.Load())
	}
	var missing *cache.AbsentError
	if _, err := s.open(t, s.digested(), locked); !errors.As(err, &missing) || s.requests.Load() > 0 {
		t.Errorf("locked, with an empty cache: %v, and %d requests", err, s.requests.Load())
	}
	wanted := func(what string, img *image.Stored, err error) {
		t.Helper()
		if err != nil || img.ManifestDescriptor.Digest != s.manifest.Digest {
			t.Fatalf("%s: %v, %v", what, img, err)
		}
		for _, l := range img.StoredLayers() {
			if _, err := l.Info(t.Context()); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	img, err := s.open(t, s.tagged(), func(o *base.Options) { unlocked(o); uncached(o) })
	wanted("unlocked, without a cache", img, err)
	img, err = s.open(t, s.digested(), nil)
	wanted("by digest", img, err)
	for what, change := range map[string]func(*base.Options){"again": nil, "locked": locked} {
		img, err := s.open(t, s.digested(), change)
		wanted(what, img, err)
		if n := s.requests.Load(); n > 0 {
			t.Errorf("%s: %d requests", what, n)
		}
	}
	s.writeLock(t, s.manifest)
	img, err = s.open(t, s.tagged(), locked)
	wanted("by varve.lock", img, err)
	other := s.manifest
	other.Size++
	s.writeLock(t, other)
	var lies *lockfile.MismatchError
	if _, err := s.open(t, s.tagged(), nil); !errors.As(err, &lies) {
		t.Errorf("a varve.lock with another size: %v", err)
	}
}

// writeLock writes a varve.lock in which the image has a descriptor.
func (s *site) writeLock(t *testing.T, d v1.Descriptor) {
	t.Helper()
	found, err := registry.Resolve(t.Context(), s.host+"/app:1", registry.Options{InsecureHosts: []string{s.host}})
	if err != nil {
		t.Fatal(err)
	}
	img, err := found.Image(t.Context(), found.Manifests[0])
	if err != nil {
		t.Fatal(err)
	}
	d.Platform = nil
	entry := lockfile.NewImage(d)
	if entry.Platforms["linux/amd64"], err = lockfile.NewManifest(d, img.Manifest); err != nil {
		t.Fatal(err)
	}
	key, err := lockfile.Key(s.host + "/app:1")
	if err != nil {
		t.Fatal(err)
	}
	data, err := (&lockfile.File{Images: map[string]lockfile.Image{key: entry}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.lock, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDamaged: a blob in the cache that does not match its digest is fetched again, or, where
// nothing may be fetched, is an error that says so.
func TestDamaged(t *testing.T) {
	s := newSite(t)
	img, err := s.open(t, s.digested(), nil)
	if err != nil {
		t.Fatal(err)
	}
	blob := img.StoredLayers()[0].Stored().Digest
	s.cache.Close()
	s.cache = &cache.Lazy{Dir: s.cache.Dir}
	s.opts.Cache = s.cache.Open
	var name string
	err = filepath.WalkDir(s.cache.Dir, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == blob.Encoded() {
			name = path
		}
		return err
	})
	if err != nil || name == "" {
		t.Fatalf("the cache has no blob %s: %v", blob, err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	read := func(change func(*base.Options)) error {
		t.Helper()
		img, err := s.open(t, s.digested(), change)
		if err != nil || s.requests.Load() > 0 {
			t.Fatalf("a layer that nobody reads: %v, and %d requests", err, s.requests.Load())
		}
		_, err = img.StoredLayers()[0].Info(t.Context())
		return err
	}
	var damaged *base.DamagedError
	if err := read(locked); !errors.As(err, &damaged) {
		t.Errorf("locked: %v", err)
	}
	if err := read(nil); err != nil || s.requests.Load() == 0 {
		t.Errorf("not locked: %v, and %d requests", err, s.requests.Load())
	}
	// One of another size is seen at once.
	if err := os.WriteFile(name, data[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(t, s.digested(), locked); !errors.As(err, &damaged) {
		t.Errorf("locked, cut short: %v", err)
	}
	if _, err := s.open(t, s.digested(), nil); err != nil || s.requests.Load() == 0 {
		t.Errorf("not locked, cut short: %v, and %d requests", err, s.requests.Load())
	}
}

// TestElsewhere: base images of other places, and what is wrong with references to them.
func TestElsewhere(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		name, ref string
		change    func(*base.Options)
		want      string
	}{
		{"no file", "missing.tar", nil, "no such file"},
		{"a name of an image", "debian:12", nil, "no such file"},
		{"an engine, locked", "docker-daemon:a:1", locked, "not pinned"},
		{"a layer", "layer:dir", nil, "not an image"},
		{"another platform", s.digested(), func(o *base.Options) { o.Architecture = "arm64" }, ""},
		{"an unreadable lock", s.tagged(), func(*base.Options) {
			if err := os.WriteFile(s.lock, []byte("{"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, lockfile.Name},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.open(t, c.ref, c.change)
			if c.want == "" {
				if err != nil {
					t.Fatal(err) // a single image is taken for any platform
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want one with %q", err, c.want)
			}
			var wrong *place.RefError
			if !errors.As(err, &wrong) {
				t.Errorf("%v is not a *place.RefError", err)
			}
		})
	}
}

// TestCancelled: a context that is done ends a look-up.
func TestCancelled(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := base.New(s.opts)
	defer r.Close()
	if _, err := r.Open(ctx, spec.Base{Reference: s.digested()}, s.lock); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
