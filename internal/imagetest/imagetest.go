// Package imagetest is the suite that every place of images passes: archives,
// layouts, registries and engines.
//
// It checks what package image promises about a Source, its images and their
// layers: what is written is read back the same, byte for byte, and written again
// it gives the same bytes; damage is an error instead of io.EOF; readers end with
// their context and leave nothing behind.
//
// Only tests import this package.
package imagetest

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// Place is an empty place for one image.
type Place struct {
	// Target writes the image.
	Target image.Target
	// Open opens what was written.
	Open func(ctx context.Context) (image.Source, error)
	// Name is the image's name at the place; empty means its own name.
	Name string
	// Bytes returns the whole content of the place, for comparison with another place.
	Bytes func(t testing.TB) string
	// Damage changes a byte of a layer as it is stored; nil if tests cannot do that.
	Damage func(t testing.TB, stored image.StoredLayer)
}

// Run runs the suite, with all of Images or the named ones. newPlace has to return
// a new place each time.
func Run(t *testing.T, newPlace func(t *testing.T) Place, names ...string) {
	for _, c := range Images(t) {
		if names != nil && !slices.Contains(names, c.Name) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			steady(t)
			place := newPlace(t)
			must(t, place.write(t, c.Image))
			written := place.Bytes(t)
			stored, src := place.open(t, c.Image)
			checkImage(t, stored, c.Image)
			checkLayers(t, stored, c.Image)
			again(t, newPlace(t), stored, c.Image, written)
			if got := place.Bytes(t); got != written {
				t.Error("reading changed what is there")
			}
			checkNames(t, src)
			checkCancel(t, newPlace(t), c.Image, stored)
			if place.Damage != nil && len(stored.DiffIDs) > 0 {
				checkDamage(t, newPlace(t), place, stored)
			}
		})
	}
}

// write writes an image, and checks what the target reports about it.
func (p Place) write(t *testing.T, img image.Named) error {
	t.Helper()
	layers := 0
	written, err := p.Target.Write(t.Context(), []image.Named{img}, func(e image.Event) {
		if e.Done {
			layers++
		}
	})
	if err != nil {
		return err
	}
	if len(written) != 1 || len(written[0].Names) == 0 || written[0].ID == "" {
		t.Errorf("what was written is said to be %+v", written)
	}
	if want := len(img.Layers()); layers != want && !written[0].Present {
		t.Errorf("%d layers were told of, want %d", layers, want)
	}
	if p.Target.String() == "" {
		t.Error("the target has no name")
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the one image of a place by its name.
func (p Place) open(t *testing.T, img image.Named) (*image.Stored, image.Source) {
	t.Helper()
	src, err := p.Open(t.Context())
	must(t, err)
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	name := p.Name
	if name == "" {
		name = img.RepoTags[0]
	}
	if n := len(src.List()); n != 1 {
		t.Fatalf("there are %d images: %+v", n, src.List())
	}
	for _, name := range []string{name, "", "@0"} {
		i, err := image.Select(t.Context(), src, name, v1.Platform{OS: "linux", Architecture: "amd64"})
		if err != nil || i != 0 {
			t.Errorf("the image called %q: %d, %v", name, i, err)
		}
	}
	stored, err := src.Open(t.Context(), 0)
	must(t, err)
	return stored, src
}

// again writes the image that was read to another place, which must then have the
// same content.
func again(t *testing.T, place Place, stored *image.Stored, img image.Named, want string) {
	t.Helper()
	must(t, place.write(t, image.Named{Image: stored, Names: img.Names}))
	if got := place.Bytes(t); got != want {
		t.Errorf("written, read and written again there are other bytes: %d, first %d", len(got), len(want))
	}
}

func checkNames(t *testing.T, src image.Source) {
	t.Helper()
	for _, name := range []string{"no/such:image", "@1"} {
		if _, err := image.Select(t.Context(), src, name, v1.Platform{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the image called %q: %v", name, err)
		}
	}
	if src.String() == "" {
		t.Error("the place has no name")
	}
}

// checkCancel checks that with a context that is done nothing is read, and nothing
// is written that could be opened.
func checkCancel(t *testing.T, empty Place, img image.Named, stored *image.Stored) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i, l := range stored.Layers() {
		if err := l.Write(ctx, discard{}); !errors.Is(err, context.Canceled) {
			t.Errorf("layer %d, cancelled: %v", i, err)
		}
	}
	if len(img.Layers()) == 0 {
		return
	}
	if _, err := empty.Target.Write(ctx, []image.Named{img}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("write, cancelled: %v", err)
	}
	if src, err := empty.Open(t.Context()); err == nil {
		if n := len(src.List()); n > 0 {
			t.Errorf("after a write that was cancelled there are %d images", n)
		}
		src.Close()
	}
}

// checkDamage checks that a layer with a changed byte is an error for every way of
// reading it, and is not written elsewhere.
func checkDamage(t *testing.T, empty, place Place, stored *image.Stored) {
	t.Helper()
	layers := stored.StoredLayers()
	last := layers[len(layers)-1]
	place.Damage(t, last)
	if err := last.Write(t.Context(), discard{}); err == nil {
		t.Error("a damaged layer is read")
	}
	if data, err := readAll(last.Open(t.Context())); err == nil {
		t.Errorf("a damaged layer is opened and has %d bytes", len(data))
	}
	if data, err := readAll(last.OpenStored(t.Context())); err == nil && last.Stored().Digest != "" {
		t.Errorf("a damaged layer is opened as it is stored and has %d bytes", len(data))
	}
	if _, err := empty.Target.Write(t.Context(), []image.Named{{Image: stored, Names: image.Names{RepoTags: []string{"example.org/varve-suite/app:1"}}}}, nil); err == nil {
		t.Error("a damaged layer is written elsewhere")
	}
}
