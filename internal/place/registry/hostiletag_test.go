package registry

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// twoVersions pushes two images of a repository, called old and new, and
// returns their layers.
func twoVersions(t *testing.T, reg *fakeRegistry) (before, after []image.Layer) {
	t.Helper()
	before, after = []image.Layer{textLayer{"a", "the old layer"}}, []image.Layer{textLayer{"b", "the new layer, which is longer"}}
	mustPush(t, reg.host+"/app:old", newImage(before...), PushOptions{Options: reg.options()})
	mustPush(t, reg.host+"/app:new", newImage(after...), PushOptions{Options: reg.options()})
	reg.reset()
	return before, after
}

// TestTagMoves: a tag that names another image with each request is asked for
// once. Everything that is read belongs to what it named then.
func TestTagMoves(t *testing.T) {
	noLeaks(t)
	reg := newFake(t, inProcess["cuelabs"](), true)
	before, after := twoVersions(t, reg)
	var asked atomic.Int32
	reg.setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/moving") {
			to := "/manifests/old"
			if asked.Add(1) > 1 {
				to = "/manifests/new"
			}
			r.URL.Path = strings.Replace(r.URL.Path, "/manifests/moving", to, 1)
		}
		return false
	})
	for _, want := range [][]image.Layer{before, after} {
		img, err := Open(t.Context(), reg.host+"/app:moving", reg.options())
		if err != nil {
			t.Fatal(err)
		}
		wantLayers(t, img, want)
	}
	if n := reg.count("", "/manifests/moving"); n != 2 {
		t.Errorf("the tag was asked for %d times by two readers", n)
	}
}

// TestTagMovesBelow: what a registry returns for a digest in an index has that
// digest, whatever the tags name meanwhile.
func TestTagMovesBelow(t *testing.T) {
	noLeaks(t)
	reg := newFake(t, inProcess["cuelabs"](), true)
	twoVersions(t, reg)
	manifest := func(tag string) *image.Stored {
		img, err := Open(t.Context(), reg.host+"/app:"+tag, reg.options())
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	old, moved := manifest("old"), manifest("new")
	d := old.ManifestDescriptor
	d.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	index, err := ocijson.Index([]v1.Descriptor{d}, nil)
	if err != nil {
		t.Fatal(err)
	}
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/manifests/index"):
			page(v1.MediaTypeImageIndex, string(index))(w, r)
		case strings.HasSuffix(r.URL.Path, "/manifests/"+d.Digest.String()):
			page(moved.ManifestDescriptor.MediaType, string(moved.Manifest))(w, r)
		default:
			return false
		}
		return true
	})
	opts := reg.options()
	opts.Platform = *d.Platform
	var mismatch *layer.DigestError
	if err := pull(t.Context(), reg.host+"/app:index", opts); !errors.As(err, &mismatch) && (err == nil || !strings.Contains(err.Error(), "bytes")) {
		t.Errorf("error %v", err)
	}
}

// TestPages: nothing is listed, so that a registry that says of each answer
// that there is a next page, here or on another host, leads nowhere.
func TestPages(t *testing.T) {
	noLeaks(t)
	other := newFake(t, http.NotFoundHandler(), true)
	reg := newFake(t, inProcess["cuelabs"](), true)
	before, after := twoVersions(t, reg)
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Add("Link", `<`+r.URL.Path+`?n=1&last=x>; rel="next"`)
		w.Header().Add("Link", `<https://`+other.host+`/v2/app/tags/list?n=1>; rel="next"`)
		return false
	})
	img, err := Open(t.Context(), reg.host+"/app:old", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	wantLayers(t, img, before)
	mustPush(t, reg.host+"/app:third", newImage(append(before, after...)...), PushOptions{Options: reg.options()})
	if n := other.count("", "") + reg.count("", "/tags/") + reg.count("", "/referrers/"); n != 0 || len(reg.requests) > 20 {
		t.Errorf("%d requests for pages: %q", n, reg.requests)
	}
}
