package registry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// lying pushes an image whose config has another diffID than its layer, and returns its
// manifest. If a media type is given, it replaces the layer's.
func lying(t *testing.T, reg *fakeRegistry, layerType string) v1.Descriptor {
	t.Helper()
	ctx, ref := t.Context(), reg.host+"/app:true"
	mustPush(t, ref, newImage(bigLayer("big", 1000)), PushOptions{Options: reg.options()})
	img, err := Open(ctx, ref, reg.options())
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPusher(ctx, reg.host+"/app:lie", PushOptions{Options: reg.options()})
	if err != nil {
		t.Fatal(err)
	}
	config := bytes.ReplaceAll(img.ConfigJSON, []byte(img.DiffIDs[0]), []byte(digest.FromString("other")))
	manifest := bytes.ReplaceAll(img.Manifest, []byte(digest.FromBytes(img.ConfigJSON)), []byte(digest.FromBytes(config)))
	if layerType != "" {
		manifest = bytes.ReplaceAll(manifest, []byte(v1.MediaTypeImageLayerGzip), []byte(layerType))
	}
	doc := image.NewDocument(v1.MediaTypeImageManifest, manifest)
	if err := errors.Join(p.bytes(ctx, image.NewDocument(v1.MediaTypeImageConfig, config)), p.manifest(ctx, p.client.ref, doc)); err != nil {
		t.Fatal(err)
	}
	return doc.Descriptor
}

// TestCopyLie: an image that contradicts its config is not copied to another registry, by itself
// or in an index, and what is there of it has no name.
func TestCopyLie(t *testing.T) {
	noLeaks(t)
	reg, other := newFake(t, inProcess["cuelabs"](), true), newFake(t, inProcess["cuelabs"](), true)
	d := lying(t, reg, "")
	d.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	if _, err := PushManifests(t.Context(), reg.host+"/app:index", []v1.Descriptor{d}, nil, reg.options()); err != nil {
		t.Fatal(err)
	}
	var mismatch *layer.DigestError
	for _, tag := range []string{"lie", "index"} {
		r, err := Resolve(t.Context(), reg.host+"/app:"+tag, reg.options())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Copy(t.Context(), r, other.host+"/app:1", PushOptions{Options: other.options()}); !errors.As(err, &mismatch) {
			t.Errorf("%s: copied: %v", tag, err)
		}
	}
	img, err := Open(t.Context(), reg.host+"/app:lie", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Push(t.Context(), other.host+"/app:1", img, PushOptions{Options: other.options()}); !errors.As(err, &mismatch) {
		t.Errorf("pushed: %v", err)
	}
	if n := other.count(http.MethodPut, "/manifests/"); n != 0 {
		t.Errorf("%d manifests were written", n)
	}
}

// TestCopyOthers: a layer that is not a tar, such as a signature, is not an error, and neither
// is a layer that only its readers can decrypt.
func TestCopyOthers(t *testing.T) {
	for _, layerType := range []string{"application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.in-toto+json", v1.MediaTypeImageLayerGzip + "+encrypted"} {
		reg, other := newFake(t, inProcess["cuelabs"](), true), newFake(t, inProcess["cuelabs"](), true)
		lying(t, reg, layerType)
		r, err := Resolve(t.Context(), reg.host+"/app:lie", reg.options())
		if err == nil {
			_, err = Copy(t.Context(), r, other.host+"/app:1", PushOptions{Options: other.options()})
		}
		if err != nil {
			t.Errorf("%s: %v", layerType, err)
		}
	}
}

// TestCopyLimited: what the layers of an image unpack to is limited, for each image by itself,
// where they are read.
func TestCopyLimited(t *testing.T) {
	noLeaks(t)
	reg := newFake(t, inProcess["cuelabs"](), true)
	ref := reg.host + "/app:1"
	mustPush(t, ref, newImage(bigLayer("big", 5000), bigLayer("more", 5000)), PushOptions{Options: reg.options()})
	for _, tt := range []struct {
		bytes int64
		fails bool
	}{{9000, true}, {1 << 20, false}} {
		other := newFake(t, inProcess["cuelabs"](), true)
		r, err := Resolve(t.Context(), ref, reg.options())
		if err != nil {
			t.Fatal(err)
		}
		_, err = Copy(t.Context(), r, other.host+"/app:1", PushOptions{Options: other.options(), Budget: func() *layer.Budget { return layer.NewBudget(tt.bytes, 10) }})
		var limit *tree.LimitError
		if errors.As(err, &limit) != tt.fails || !tt.fails && err != nil {
			t.Errorf("%d bytes: %v", tt.bytes, err)
		}
	}
}

// TestCopyAnnounced: an image whose platform is not the one in its index is copied, with a
// warning.
func TestCopyAnnounced(t *testing.T) {
	reg, other := newFake(t, inProcess["cuelabs"](), true), newFake(t, inProcess["cuelabs"](), true)
	d, err := Push(t.Context(), reg.host+"/app:1", newImage(), PushOptions{Options: reg.options()})
	if err != nil {
		t.Fatal(err)
	}
	d.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"}
	if _, err = PushManifests(t.Context(), reg.host+"/app:index", []v1.Descriptor{d}, nil, reg.options()); err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(t.Context(), reg.host+"/app:index", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	opts := PushOptions{Options: other.options(), Warn: func(err error) { told = append(told, err.Error()) }}
	if _, err := Copy(t.Context(), r, other.host+"/app:1", opts); err != nil {
		t.Error(err)
	}
	if text := strings.Join(told, "; "); len(told) != 1 || !strings.Contains(text, "listed for linux/arm64, and its config is for linux/amd64") {
		t.Errorf("warnings %q", told)
	}
}

// TestOpenStoredTwice: a layer that was unpacked before is not unpacked again when it is passed
// on.
func TestOpenStoredTwice(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), true)
	lying(t, reg, "")
	img, err := Open(t.Context(), reg.host+"/app:true", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	l := img.StoredLayers()[0]
	for range 2 {
		r, err := l.OpenStored(t.Context())
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	// Stopping early leaves no goroutine behind.
	noLeaks(t)
	img, err = Open(t.Context(), reg.host+"/app:true", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	r, err := img.StoredLayers()[0].OpenStored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = r.Read(make([]byte, 10))
	r.Close()
}
