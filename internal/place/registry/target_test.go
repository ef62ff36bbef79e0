package registry

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

func TestRefs(t *testing.T) {
	for _, c := range []struct{ ref, repoTags, refNames, want string }{
		{"h.example/a", "", "", "latest"},
		{"h.example/a", "app:1", "", "1"},
		{"localhost:5000/a", "app:1 other:2", "", "1 2"},
		{"h.example/a", "app:1 other:1", "", "1"},
		{"h.example/a", "", "v1", "v1"},
		{"h.example/a", "app:1", "v1", "v1"},
		{"h.example/a", "app:1 app:2", "v1", "1 2 v1"},
		{"h.example/a", "app:1", "v1 v2", "1 v1 v2"},
		{"h.example/a", "app:1", "no/tag", "1"},
		{"h.example/a", "", "no/tag", "latest"},
		{"h.example/a:own", "app:1 app:2", "v1", ":own"},
	} {
		want := strings.Fields(c.want)
		for i, tag := range want {
			want[i] = c.ref + ":" + strings.TrimPrefix(tag, ":")
		}
		if image.Tag(c.ref) != "" {
			want = []string{c.ref}
		}
		names := image.Names{RepoTags: strings.Fields(c.repoTags), RefNames: strings.Fields(c.refNames)}
		if got := Refs(c.ref, names); !slices.Equal(got, want) {
			t.Errorf("%s of %+v: %q, want %q", c.ref, names, got, want)
		}
	}
}

// target returns the repository of a reference at a registry's host.
func (h *fakeRegistry) target(ref string) *Target {
	return &Target{Ref: h.host + ref, Options: func() (PushOptions, error) { return PushOptions{Options: h.options()}, nil }}
}

// TestTarget: images are pushed by their tags one after the other, and an error comes with those
// that were.
func TestTarget(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), false)
	called := func(content string, names ...string) image.Named {
		return image.Named{Image: newImage(textLayer{content, content}), Names: image.Names{RepoTags: names}}
	}
	layers := map[int]int{}
	written, err := reg.target("/app").Write(t.Context(), []image.Named{called("a", "app:1", "app:2"), called("b", "x:3")}, func(e image.Event) {
		layers[e.Layer]++
		if e.Layers != 2 {
			t.Errorf("event %+v", e)
		}
	})
	if err != nil || len(written) != 2 || layers[1] != 2 || layers[2] != 2 {
		t.Fatalf("%+v, %v; layers %v", written, err, layers)
	}
	for i, tags := range [][]string{{"1", "2"}, {"3"}} {
		for n, tag := range tags {
			ref := reg.host + "/app:" + tag
			img, err := Open(t.Context(), ref, reg.options())
			if err != nil {
				t.Fatal(err)
			}
			id, err := image.ID(t.Context(), img)
			if w := written[i]; err != nil || w.Names[n] != ref || len(w.Names) != len(tags) || w.ID != id || w.Manifest.Digest != img.ManifestDescriptor.Digest {
				t.Errorf("%s: %+v, %s, %v", ref, w, id, err)
			}
		}
	}

	// A missing tag is made of the id.
	written, err = reg.target("/made").Write(t.Context(), []image.Named{called("a", "app")}, nil)
	if err != nil || len(written) != 1 || len(written[0].Names) != 1 || len(image.Tag(written[0].Names[0])) != 32 {
		t.Errorf("%+v, %v", written, err)
	}

	reg.reset()
	var collision *image.CollisionError
	for target, images := range map[string][]image.Named{"/app": {called("a", "app:1"), called("b", "x:1")}, "/app:own": {called("a", "app:1"), called("b", "x:2")}} {
		if written, err := reg.target(target).Write(t.Context(), images, nil); !errors.As(err, &collision) || len(written) != 0 {
			t.Errorf("two images of one name: %+v, %v", written, err)
		}
	}
	if n := reg.count("", ""); n != 0 {
		t.Errorf("%d requests for images that collide", n)
	}

	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		refused := strings.HasSuffix(r.URL.Path, "/manifests/second")
		if refused {
			w.WriteHeader(http.StatusForbidden)
		}
		return refused
	})
	written, err = reg.target("/app").Write(t.Context(), []image.Named{called("c", "c:first"), called("d", "d:second"), called("e", "e:third")}, nil)
	if err == nil || len(written) != 1 || fmt.Sprint(written[0].Names) != "["+reg.host+"/app:first]" {
		t.Errorf("the second is refused: %+v, %v", written, err)
	}
	if n := reg.count("", "/manifests/third"); n != 0 {
		t.Error("after an error it goes on")
	}
}

// TestTargetIndex: an index has its images and all its tags.
func TestTargetIndex(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), false)
	x := &image.Index{Names: image.Names{RepoTags: []string{"app:1", "app:2"}}}
	for _, architecture := range []string{"amd64", "arm64"} {
		d := describe(textLayer{"a", architecture})
		d.Architecture = architecture
		x.Images = append(x.Images, image.New(d))
	}
	written, err := reg.target("/app").WriteIndex(t.Context(), x, nil)
	if err != nil || fmt.Sprint(written.Names) != fmt.Sprintf("[%[1]s/app:1 %[1]s/app:2]", reg.host) || written.ID != "" {
		t.Fatalf("%+v, %v", written, err)
	}
	for _, ref := range written.Names {
		r, err := Resolve(t.Context(), ref, reg.options())
		if err != nil || r.Descriptor.Digest != written.Manifest.Digest || len(r.Manifests) != 2 {
			t.Fatalf("%s: %+v, %v", ref, r, err)
		}
		opts := reg.options()
		opts.Platform = v1.Platform{OS: "linux", Architecture: "arm64"}
		img, err := Open(t.Context(), ref, opts)
		if err != nil {
			t.Fatal(err)
		}
		wantLayers(t, img, x.Images[1].Layers())
	}
}
