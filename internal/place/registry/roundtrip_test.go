package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

func TestPushAndOpen(t *testing.T) {
	for name, handler := range inProcess {
		for _, compression := range []string{"none", "gz", "zstd"} {
			t.Run(name+"/"+compression, func(t *testing.T) {
				noLeaks(t)
				reg := newFake(t, handler(), false)
				c, err := compress.Parse(compression)
				if err != nil {
					t.Fatal(err)
				}
				var events []image.Event
				opts := PushOptions{Options: reg.options(), Compression: c}
				opts.Observe = func(e image.Event) { events = append(events, e) }
				big := bigLayer("big", 2*chunkSize+12345)
				d := describe(textLayer{"a", "text"}, big, textLayer{"a", "text"}, textLayer{"empty", ""})
				d.Annotations = map[string]string{"k": "v"}
				img := image.New(d)
				ref := reg.host + "/some/app:v1"
				want := mustPush(t, ref, img, opts)
				if n := reg.count("PATCH", "/uploads/"); n != 4 {
					t.Errorf("%d PATCHes, want one for each blob", n)
				}
				if len(events) != 8 || events[0].Layers != 4 {
					t.Errorf("events %+v", events)
				}
				for _, ref := range []string{ref, reg.host + "/some/app@" + want.String()} {
					got, err := Open(t.Context(), ref, reg.options())
					if err != nil {
						t.Fatal(err)
					}
					wantLayers(t, got, img.Layers())
					if got.ManifestDescriptor.Digest != want || got.StoredLayers()[1].Stored().MediaType != c.MediaType() {
						t.Errorf("manifest %+v, layer %+v", got.ManifestDescriptor, got.StoredLayers()[1].Stored())
					}
				}
				again := reg.host + "/some/app:v2"
				if got := mustPush(t, again, img, opts); got != want {
					t.Errorf("the second push gave %s, the first %s", got, want)
				}
			})
		}
	}
}

// TestPassThrough: an image that is in a registry goes to another as it is, and
// nothing is sent that is there.
func TestPassThrough(t *testing.T) {
	for name, handler := range inProcess {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			from, to := newFake(t, handler(), false), newFake(t, handler(), true)
			img := newImage(textLayer{"a", "a"}, bigLayer("big", chunkSize+1), textLayer{"a", "a"})
			want := mustPush(t, from.host+"/a/b:1", img, PushOptions{Options: from.options(), Compression: compress.Compression{Algorithm: compress.Zstd}})
			stored, err := Open(t.Context(), from.host+"/a/b:1", from.options())
			if err != nil {
				t.Fatal(err)
			}
			ref := to.host + "/c/d:2"
			if got := mustPush(t, ref, stored, PushOptions{Options: to.options()}); got != want {
				t.Errorf("manifest %s, want it kept as %s", got, want)
			}
			opened, err := Open(t.Context(), ref, to.options())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(opened.Manifest, stored.Manifest) || !bytes.Equal(opened.ConfigJSON, stored.ConfigJSON) {
				t.Error("manifest or config changed")
			}
			wantLayers(t, opened, img.Layers())
			from.reset()
			to.reset()
			mustPush(t, ref, stored, PushOptions{Options: to.options()})
			if n := to.count("POST", "") + from.count("GET", "/blobs/"); n != 0 {
				t.Errorf("%d uploads and downloads of what was there", n)
			}
			anew := PushOptions{Options: to.options(), Recompress: true}
			mustPush(t, to.host+"/c/d:3", stored, anew)
			opened, err = Open(t.Context(), to.host+"/c/d:3", to.options())
			if err != nil {
				t.Fatal(err)
			}
			if got := opened.StoredLayers()[0].Stored().MediaType; got != v1.MediaTypeImageLayerGzip {
				t.Errorf("compressed anew it is %s", got)
			}
			wantLayers(t, opened, img.Layers())
		})
	}
}

func TestMount(t *testing.T) {
	for name, handler := range inProcess {
		t.Run(name, func(t *testing.T) {
			reg := newFake(t, handler(), false)
			img := newImage(bigLayer("big", 100_000))
			mustPush(t, reg.host+"/base/one:1", img, PushOptions{Options: reg.options()})
			stored, err := Open(t.Context(), reg.host+"/base/one:1", reg.options())
			if err != nil {
				t.Fatal(err)
			}
			// What is not found there, or not mounted, is sent as usual.
			for i, from := range [][]string{{"base/one"}, {"no/such", "base/one"}, {"no/such"}} {
				ref := reg.host + "/app/" + string(rune('a'+i)) + ":1"
				reg.reset()
				mustPush(t, ref, stored, PushOptions{Options: reg.options(), MountFrom: from})
				if n := reg.count("PUT", "/blobs/uploads/"); i == 0 && n != 0 && name != "go-containerregistry" {
					t.Errorf("mounting from %q: %d uploads", from, n)
				}
				got, err := Open(t.Context(), ref, reg.options())
				if err != nil {
					t.Fatal(err)
				}
				wantLayers(t, got, img.Layers())
			}
		})
	}
}

func TestMountAnswered202(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), false)
	img := newImage(textLayer{"a", "a layer"})
	mustPush(t, reg.host+"/base:1", img, PushOptions{Options: reg.options()})
	stored, err := Open(t.Context(), reg.host+"/base:1", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	reg.setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("mount") != "" {
			r.URL.RawQuery = "" // as if it were an upload, which gives 202
		}
		return false
	})
	reg.reset()
	mustPush(t, reg.host+"/app:1", stored, PushOptions{Options: reg.options(), MountFrom: []string{"base"}})
	if posts, puts := reg.count("POST", "/uploads/"), reg.count("PUT", "/uploads/"); posts != 2 || puts != 2 {
		t.Errorf("%d POST and %d PUT, want the upload of config and layer to go on where the mount led", posts, puts)
	}
}

// TestMountFromSeveral: each layer is mounted from where it comes from, because a registry that
// does not find it there begins an upload.
func TestMountFromSeveral(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), false)
	var layers, want []image.Layer
	for _, name := range []string{"one", "other"} { // of other lengths: so are the layers
		img := newImage(bigLayer(name, 1000))
		want = append(want, img.Layers()...)
		mustPush(t, reg.host+"/base/"+name+":1", img, PushOptions{Options: reg.options()})
		stored, err := Open(t.Context(), reg.host+"/base/"+name+":1", reg.options())
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, stored.Layers()...)
	}
	reg.setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		query := r.URL.Query()
		if from := query.Get("from"); from != "" {
			resp, err := http.Head("http://" + reg.host + "/v2/" + from + "/blobs/" + query.Get("mount"))
			if err != nil {
				t.Error(err)
				return false
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				r.URL.RawQuery = "" // as if it were an upload, as Docker's registry does
			}
		}
		return false
	})
	reg.reset()
	mustPush(t, reg.host+"/app:1", newImage(layers...), PushOptions{Options: reg.options()})
	if n := reg.count("PUT", "/uploads/"); n != 1 {
		t.Errorf("%d uploads, want that of the config alone", n)
	}
	got, err := Open(t.Context(), reg.host+"/app:1", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	wantLayers(t, got, want)
}

// pushPlatforms pushes an image for each platform and returns the manifests.
func pushPlatforms(t *testing.T, reg *fakeRegistry, platforms ...v1.Platform) []v1.Descriptor {
	t.Helper()
	var all []v1.Descriptor
	for _, p := range platforms {
		described := describe(textLayer{"a", p.Architecture + p.Variant})
		described.Architecture, described.OS, described.Variant = p.Architecture, p.OS, p.Variant
		d, err := Push(t.Context(), reg.host+"/app:"+p.Architecture+p.Variant, image.New(described), PushOptions{Options: reg.options()})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func TestIndex(t *testing.T) {
	noLeaks(t)
	reg := newFake(t, inProcess["cuelabs"](), false)
	ref := reg.host + "/app:all"
	amd := v1.Platform{OS: "linux", Architecture: "amd64"}
	v6, v7 := v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	manifests := pushPlatforms(t, reg, amd, v6, v7)
	index, err := PushManifests(t.Context(), ref, manifests, map[string]string{"k": "v"}, reg.options())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(t.Context(), ref, reg.options())
	if err != nil {
		t.Fatal(err)
	}
	if r.Descriptor.Digest != index.Digest || digest.FromBytes(r.Raw) != index.Digest || len(r.Manifests) != 3 || r.Tag != "all" {
		t.Errorf("resolved %+v", r)
	}
	for _, tt := range []struct {
		platform v1.Platform
		want     int
		err      string
	}{
		{amd, 0, ""},
		{v7, 2, ""},
		{v1.Platform{OS: "linux", Architecture: "arm"}, 1, ""},
		{v1.Platform{OS: "linux", Architecture: "x86_64"}, 0, ""},
		{v1.Platform{OS: "linux", Architecture: "s390x"}, 0, "0 images are for platform linux/s390x; the index has linux/amd64"},
		{v1.Platform{}, 0, "one platform has to be chosen"},
	} {
		opts := reg.options()
		opts.Platform = tt.platform
		img, err := Open(t.Context(), ref, opts)
		if tt.err != "" {
			wantError(t, err, tt.err)
		} else if err != nil || img.ManifestDescriptor.Digest != manifests[tt.want].Digest {
			t.Errorf("%+v: %+v, %v", tt.platform, img, err)
		}
	}
	_, err = PushManifests(t.Context(), ref, append(manifests, manifests[1], v1.Descriptor{MediaType: v1.MediaTypeImageManifest}), nil, reg.options())
	wantError(t, err, "entry 4", "has the platform linux/arm/v6 too", "entry 5", "no platform")
}

// TestNestedIndex: nested indexes are searched, attestations do not count as images, and a copy
// has everything byte for byte.
func TestNestedIndex(t *testing.T) {
	noLeaks(t)
	reg, other := newFake(t, inProcess["cuelabs"](), false), newFake(t, inProcess["go-containerregistry"](), true)
	manifests := pushPlatforms(t, reg, v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}, v1.Platform{OS: "unknown", Architecture: "unknown"})
	inner, err := PushManifests(t.Context(), reg.host+"/app:inner", manifests, nil, reg.options())
	if err != nil {
		t.Fatal(err)
	}
	inner.Platform = &v1.Platform{OS: "linux", Architecture: "any"}
	outer, err := PushManifests(t.Context(), reg.host+"/app:outer", []v1.Descriptor{inner, manifests[0]}, nil, reg.options())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(t.Context(), reg.host+"/app:outer", reg.options())
	if err != nil || len(r.Manifests) != 2 {
		t.Fatalf("manifests %+v, %v", r, err)
	}
	got, err := Copy(t.Context(), r, other.host+"/x/y:z", PushOptions{Options: other.options()})
	if err != nil || got.Digest != outer.Digest {
		t.Fatalf("copied %+v, %v", got, err)
	}
	copied, err := Resolve(t.Context(), other.host+"/x/y:z", other.options())
	if err != nil || !bytes.Equal(copied.Raw, r.Raw) || len(copied.Manifests) != 2 {
		t.Fatalf("read again %+v, %v", copied, err)
	}
	for i, d := range copied.Manifests {
		img, err := copied.Image(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		wantLayers(t, img, []image.Layer{textLayer{"", []string{"amd64", "arm64"}[i]}})
	}
	if n := other.count("PUT", "/manifests/"); n != 5 {
		t.Errorf("%d manifests were written, want 3 images and 2 indexes", n)
	}
}

// TestDockerManifest: a Docker manifest is kept if nothing changes, and becomes a whole OCI
// manifest if a layer does.
func TestDockerManifest(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), false)
	img := newImage(textLayer{"a", "a layer"})
	mustPush(t, reg.host+"/app:oci", img, PushOptions{Options: reg.options()})
	stored, err := Open(t.Context(), reg.host+"/app:oci", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	text := string(stored.Manifest)
	for _, names := range [][2]string{
		{v1.MediaTypeImageManifest, ocijson.DockerManifest}, {v1.MediaTypeImageConfig, ocijson.DockerConfig},
		{v1.MediaTypeImageLayerGzip, ocijson.DockerLayerGzip},
	} {
		text = strings.ReplaceAll(text, `"`+names[0]+`"`, `"`+names[1]+`"`)
	}
	stored.Manifest = []byte(text)
	blob := stored.Layers()[0].(*layer.Blob)
	blob.Descriptor.MediaType = ocijson.DockerLayerGzip
	want := digest.FromString(text)
	if got := mustPush(t, reg.host+"/app:docker", stored, PushOptions{Options: reg.options()}); got != want {
		t.Errorf("pushed %s, want %s", got, want)
	}
	got, err := Open(t.Context(), reg.host+"/app:docker", reg.options())
	if err != nil || got.ManifestDescriptor.MediaType != ocijson.DockerManifest {
		t.Fatalf("%+v, %v", got, err)
	}
	zstd := PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.Zstd}}
	mustPush(t, reg.host+"/app:more", newImage(append(got.Layers(), textLayer{"b", "more"})...), zstd)
	zstd.Recompress = true
	mustPush(t, reg.host+"/app:anew", got, zstd)
	for _, tag := range []string{"more", "anew"} {
		mixed, err := Resolve(t.Context(), reg.host+"/app:"+tag, reg.options())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(mixed.Raw), "docker") || !strings.Contains(string(mixed.Raw), "tar+zstd") {
			t.Errorf("%s: %s", tag, mixed.Raw)
		}
	}
}

// TestForeignLayer: a layer with urls is listed, but never fetched or sent.
func TestForeignLayer(t *testing.T) {
	elsewhere := newFake(t, http.NotFoundHandler(), false)
	reg := newFake(t, inProcess["cuelabs"](), false)
	img := newImage(textLayer{"a", "a layer"})
	mustPush(t, reg.host+"/app:1", img, PushOptions{Options: reg.options()})
	stored, err := Open(t.Context(), reg.host+"/app:1", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(stored.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	m.MediaType = v1.MediaTypeImageManifest
	m.Layers[0].URLs = []string{elsewhere.server.URL + "/layer"}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/manifests/foreign") {
			return false
		}
		w.Header().Set("Content-Type", v1.MediaTypeImageManifest)
		_, _ = w.Write(data)
		return true
	})
	got, err := Open(t.Context(), reg.host+"/app:foreign", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, got.Layers()[0].Write(t.Context(), io.Discard), "kept outside of the registry")
	to := newFake(t, inProcess["go-containerregistry"](), false)
	if pushed := mustPush(t, to.host+"/app:1", got, PushOptions{Options: to.options(), Recompress: true}); pushed != digest.FromBytes(data) {
		t.Errorf("pushed %s", pushed)
	}
	if n := elsewhere.count("GET", ""); n != 0 {
		t.Errorf("%d requests to the layer's url", n)
	}
}

// TestPushToDigest: a digest in the reference is a promise about the manifest.
func TestPushToDigest(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), false)
	_, err := Push(t.Context(), reg.host+"/app:1@"+digest.FromString("x").String(), newImage(), PushOptions{Options: reg.options()})
	var mismatch *layer.DigestError
	if !errors.As(err, &mismatch) {
		t.Errorf("error %v", err)
	}
	if n := reg.count("PUT", "/manifests/"); n != 0 {
		t.Errorf("%d manifests were written", n)
	}
}
