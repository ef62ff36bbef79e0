package cache

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
)

// put puts text into a cache.
func put(t *testing.T, s *Store, mediaType, text string) v1.Descriptor {
	t.Helper()
	src, descs := newSource(text)
	d := descs[0]
	d.MediaType = mediaType
	if _, err := read(t, s, d, src.fetch(d)); err != nil {
		t.Fatal(err)
	}
	return d
}

// putImage puts an image into a cache that has a layer of its own and one that
// all have.
func putImage(t *testing.T, s *Store, name string) v1.Descriptor {
	t.Helper()
	layers := []v1.Descriptor{put(t, s, v1.MediaTypeImageLayer, "shared"), put(t, s, v1.MediaTypeImageLayer, "layer of "+name)}
	data, err := ocijson.Manifest(put(t, s, v1.MediaTypeImageConfig, "config of "+name), layers, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := put(t, s, v1.MediaTypeImageManifest, string(data))
	if err := s.Use(t.Context(), d, name+"@"+d.Digest.String(), name+":1", time.Now()); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	old, current := putImage(t, s, "old"), putImage(t, s, "current")
	// An index with one image that is there and one that is not.
	missing := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("elsewhere"), Size: 9}
	data, err := ocijson.Index([]v1.Descriptor{current, missing}, nil)
	if err != nil {
		t.Fatal(err)
	}
	index := put(t, s, v1.MediaTypeImageIndex, string(data))
	if err := s.Use(t.Context(), index, "index", "", time.Now()); err != nil {
		t.Fatal(err)
	}
	put(t, s, v1.MediaTypeImageLayer, "of no image")
	for _, leftover := range []string{lockName(old.Digest), "blobs/sha256/." + old.Digest.Encoded() + ".varve-XYZ"} {
		if err := os.WriteFile(filepath.Join(s.root.Name(), leftover), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(s.root.Name(), "blobs", "sha256", old.Digest.Encoded()), long, long); err != nil {
		t.Fatal(err)
	}
	// A damaged document is not an obstacle.
	broken := put(t, s, v1.MediaTypeImageIndex, "no index")
	if err := s.Use(t.Context(), broken, "broken", "", time.Now()); err != nil {
		t.Fatal(err)
	}
	images, blobs, err := s.List(t.Context())
	if err != nil || len(images) != 4 || len(blobs) != 10 {
		t.Fatalf("%d images and %d blobs, %v", len(images), len(blobs), err)
	}
	for i, want := range []string{"", "current:1", "", "old:1"} {
		if images[i].FullName != want || len(images[i].Missing) > 0 {
			t.Errorf("image %d is %+v", i, images[i])
		}
	}
	if images[1].Size != int64(len("sharedlayer of currentconfig of current"))+current.Size || images[2].Size != images[1].Size+index.Size {
		t.Errorf("sizes %d and %d", images[1].Size, images[2].Size)
	}
	// An exclusive one waits for the other users.
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := OpenExclusive(short, dir); err == nil {
		t.Fatal("opened exclusively beside another user")
	}
	s.Close()
	s, err = OpenExclusive(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	opts := PruneOptions{Before: time.Now().Add(-time.Minute), DryRun: true}
	for range 2 {
		p, err := s.Prune(t.Context(), opts)
		if err != nil || len(p.Images) != 1 || p.Images[0].FullName != "old:1" || p.Blobs != 4 {
			t.Errorf("dry run %v: %+v, %v", opts.DryRun, p, err)
		}
		opts.DryRun = false
	}
	images, blobs, err = s.List(t.Context())
	if err != nil || len(images) != 3 || len(blobs) != 6 || len(images[1].Missing) > 0 {
		t.Errorf("left are %d images and %d blobs, %v", len(images), len(blobs), err)
	}
	if names := left(t, dir); len(names) != 6 {
		t.Errorf("left are %q", names)
	}
	if p, err := s.Prune(t.Context(), PruneOptions{All: true}); err != nil || len(p.Images) != 3 || p.Blobs != 6 {
		t.Errorf("all: %+v, %v", p, err)
	}
	if names := left(t, dir); len(names) > 0 {
		t.Errorf("left are %q", names)
	}
}

func TestVerify(t *testing.T) {
	s := openStore(t, t.TempDir())
	putImage(t, s, "a")
	verify := func() (found []error) {
		t.Helper()
		if err := s.Verify(t.Context(), func(err error) { found = append(found, err) }); err != nil {
			t.Error(err)
		}
		return found
	}
	if found := verify(); found != nil {
		t.Errorf("good: %v", found)
	}
	shared := filepath.Join(s.root.Name(), "blobs", "sha256", digest.FromString("shared").Encoded())
	if err := os.WriteFile(shared, []byte("shares"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.good = nil
	if s.good = map[digest.Digest]os.FileInfo{}; len(verify()) != 1 {
		t.Error("a flipped bit is not found")
	}
	if err := os.Remove(shared); err != nil {
		t.Fatal(err)
	}
	images, _, err := s.List(t.Context())
	if err != nil || len(images) != 1 || !slices.Equal(images[0].Missing, []digest.Digest{digest.FromString("shared")}) {
		t.Errorf("a missing layer: %+v, %v", images, err)
	}
}
