package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/layer"
)

var errBroken = errors.New("broken")

// storedText is a stored layer of an uncompressed text.
func storedText(text string, urls ...string) *layer.Blob {
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromString(text), Size: int64(len(text)), URLs: urls}
	return &layer.Blob{Name: text, Descriptor: d, DiffID: d.Digest, Fetch: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

// described returns a descriptor as if the blob were stored.
func described(_ context.Context, b *Blob) (v1.Descriptor, error) {
	return v1.Descriptor{Digest: digest.FromString(b.Layer.Title())}, nil
}

// titles returns an error unless each descriptor is the one that described returns for its
// layer.
func titles(descs []v1.Descriptor, layers []Layer) error {
	if len(descs) != len(layers) {
		return fmt.Errorf("%d descriptors of %d layers", len(descs), len(layers))
	}
	for i, l := range layers {
		if want := digest.FromString(l.Title()); descs[i].Digest != want {
			return fmt.Errorf("descriptor %d is that of another layer than %q", i, l.Title())
		}
	}
	return nil
}

// TestPack: blobs are put in the layers' order, each once however often the image has its
// layer, and there is a descriptor for each layer.
func TestPack(t *testing.T) {
	a, b, c := &fakeLayer{text: "a"}, &fakeLayer{text: "b"}, storedText("c")
	layers := []Layer{a, b, c, a, &fakeLayer{text: "d"}, storedText("c"), &fakeLayer{text: "b"}}
	for _, parallel := range []int{0, 1, 2, 10} {
		var putting, most atomic.Int32
		order := make(chan string, len(layers))
		descs, err := Pack(t.Context(), layers, PackOptions{Parallel: parallel}, func(ctx context.Context, b *Blob) (v1.Descriptor, error) {
			n := putting.Add(1)
			defer putting.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			order <- fmt.Sprintf("%d %s", b.Number, b.Layer.Title())
			return described(ctx, b)
		})
		if err := errors.Join(err, titles(descs, layers)); err != nil {
			t.Errorf("%d at once: %v", parallel, err)
		}
		close(order)
		var got []string
		for text := range order {
			got = append(got, text)
		}
		if parallel > 1 { // which of several fails first is chance
			slices.Sort(got)
		}
		if want := []string{"0 a", "1 b", "2 c", "3 d"}; !slices.Equal(got, want) {
			t.Errorf("%d at once: put %q, want %q", parallel, got, want)
		}
		if n := int(most.Load()); n > max(1, parallel) {
			t.Errorf("%d at once: %d were", parallel, n)
		}
	}
	if descs, err := Pack(t.Context(), nil, PackOptions{}, described); err != nil || len(descs) != 0 {
		t.Errorf("no layers: %+v, %v", descs, err)
	}
}

// TestPackBlobs: stored layers are passed on, and all others compressed; Recompress compresses
// stored layers too, except those that are kept elsewhere.
func TestPackBlobs(t *testing.T) {
	gzip := compress.Compression{}
	for _, c := range []struct {
		what   string
		layer  Layer
		opts   PackOptions
		media  string
		passed bool
	}{
		{"a new layer", &fakeLayer{text: "x"}, PackOptions{}, v1.MediaTypeImageLayerGzip, false},
		{"a new layer in zstd", &fakeLayer{text: "x"}, PackOptions{Compressor: compress.Compression{Algorithm: compress.Zstd}}, v1.MediaTypeImageLayerZstd, false},
		{"a stored layer", storedText("x"), PackOptions{}, v1.MediaTypeImageLayer, true},
		{"a stored layer, anew", storedText("x"), PackOptions{Recompress: true, Compressor: gzip}, v1.MediaTypeImageLayerGzip, false},
		{"a layer kept elsewhere", storedText("x", "https://x.example"), PackOptions{Recompress: true}, v1.MediaTypeImageLayer, true},
		{"a layer of an archive, without a descriptor", &layer.Blob{Name: "x", DiffID: digest.FromString("x"), Fetch: storedText("x").Fetch}, PackOptions{}, v1.MediaTypeImageLayerGzip, false},
	} {
		descs, err := Pack(t.Context(), []Layer{c.layer}, c.opts, func(ctx context.Context, b *Blob) (v1.Descriptor, error) {
			var first, second bytes.Buffer
			if err := errors.Join(b.Write(ctx, &first), b.Write(ctx, &second)); err != nil {
				return v1.Descriptor{}, err
			}
			if !bytes.Equal(first.Bytes(), second.Bytes()) {
				t.Errorf("%s: written again there are other bytes", c.what)
			}
			if passed := b.Stored.Digest != ""; passed != c.passed || passed != (first.String() == "x") {
				t.Errorf("%s: it is written as %q and said to be stored as %+v", c.what, first.String(), b.Stored)
			}
			return v1.Descriptor{MediaType: b.MediaType()}, nil
		})
		if err != nil || descs[0].MediaType != c.media {
			t.Errorf("%s: %+v, %v; want %s", c.what, descs, err, c.media)
		}
	}
}

// TestPackChecks: a layer that differs when it is read again is a digest error.
func TestPackChecks(t *testing.T) {
	l := &fakeLayer{text: "x"}
	_, err := Pack(t.Context(), []Layer{l}, PackOptions{}, func(ctx context.Context, b *Blob) (v1.Descriptor, error) {
		l.text = "other"
		return v1.Descriptor{}, b.Write(ctx, io.Discard)
	})
	var mismatch *layer.DigestError
	if !errors.As(err, &mismatch) || mismatch.Want != digest.FromString("x") || mismatch.Got != digest.FromString("other") {
		t.Errorf("%v", err)
	}
}

// TestPackStops: an error of a layer, or of put, ends everything, and says which layer it was.
func TestPackStops(t *testing.T) {
	d, layers := fakeImage(50)
	layers[20].err = errBroken
	var puts atomic.Int32
	descs, err := Pack(t.Context(), d.Layers, PackOptions{Parallel: 2}, func(ctx context.Context, b *Blob) (v1.Descriptor, error) {
		puts.Add(1)
		return described(ctx, b)
	})
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "layer 21 (") || descs != nil || puts.Load() > 20 || layers[21].reads.Load() > 0 {
		t.Errorf("a broken layer: %d put, %v", puts.Load(), err)
	}

	d, layers = fakeImage(50)
	var ended atomic.Int32
	descs, err = Pack(t.Context(), d.Layers, PackOptions{Parallel: 2}, func(ctx context.Context, b *Blob) (v1.Descriptor, error) {
		if b.Number == 3 {
			return v1.Descriptor{}, errBroken
		}
		if b.Number > 3 { // it goes on until it is cancelled
			<-ctx.Done()
			ended.Add(1)
			return v1.Descriptor{}, context.Cause(ctx)
		}
		return described(ctx, b)
	})
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "layer 4 (") || descs != nil {
		t.Errorf("a broken put: %v", err)
	}
	if ended.Load() > 2 || layers[49].reads.Load() > 0 {
		t.Errorf("a broken put: %d more were ended, the last layer was read %d times", ended.Load(), layers[49].reads.Load())
	}
}

func TestPackCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d, layers := fakeImage(50)
	_, err := Pack(ctx, d.Layers, PackOptions{}, func(ctx context.Context, b *Blob) (v1.Descriptor, error) {
		if b.Number == 3 {
			cancel()
		}
		return described(ctx, b)
	})
	if !errors.Is(err, context.Canceled) || layers[49].reads.Load() > 0 {
		t.Errorf("cancelled by a put: %v", err)
	}
	put := func(context.Context, *Blob) (v1.Descriptor, error) {
		t.Error("put with a context that is done")
		return v1.Descriptor{}, nil
	}
	for what, l := range map[string]Layer{"a new layer": &fakeLayer{text: "x"}, "a stored layer": storedText("x")} {
		if _, err := Pack(ctx, []Layer{l}, PackOptions{}, put); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled before: %v", what, err)
		}
	}
	b := &Blob{Layer: &fakeLayer{text: "x"}, compressor: compress.Compression{}}
	if err := b.Write(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("a blob, cancelled: %v", err)
	}
}

// TestPackObserves: each layer is reported before and after, repeated ones too, by one goroutine
// at a time.
func TestPackObserves(t *testing.T) {
	a := &fakeLayer{text: "aaaa"}
	layers := []Layer{a, storedText("stored"), a, &fakeLayer{text: "bb"}}
	sizes := []int64{4, 6, 4, 2}
	var inside atomic.Int32
	told := map[int][]bool{}
	opts := PackOptions{Parallel: 4, Observe: func(e Event) {
		if inside.Add(1) != 1 {
			t.Error("two are told at once")
		}
		defer inside.Add(-1)
		if i := e.Layer - 1; e.Layers != len(layers) || e.Title != layers[i].Title() || e.Size != sizes[i] {
			t.Errorf("event %+v", e)
		}
		told[e.Layer] = append(told[e.Layer], e.Done)
	}}
	if _, err := Pack(t.Context(), layers, opts, described); err != nil {
		t.Fatal(err)
	}
	for i := range layers {
		if got := told[i+1]; !slices.Equal(got, []bool{false, true}) {
			t.Errorf("of layer %d it is told %v", i+1, got)
		}
	}

	told = map[int][]bool{}
	_, err := Pack(t.Context(), layers, opts, func(_ context.Context, b *Blob) (v1.Descriptor, error) { return v1.Descriptor{}, errBroken })
	if !errors.Is(err, errBroken) || slices.Contains(told[1], true) {
		t.Errorf("of a layer that was not put it is told %v, %v", told[1], err)
	}
}
