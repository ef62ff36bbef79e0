package image

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ordjson"
	"github.com/varve-image/varve/layer"
)

// listSource has a list and no images.
type listSource []Listed

func (l listSource) String() string                               { return `archive "a.tar"` }
func (l listSource) List() []Listed                               { return l }
func (l listSource) Open(context.Context, int) (*Existing, error) { return nil, errors.New("none") }
func (l listSource) Close() error                                 { return nil }
func named(id string, names ...string) Listed                     { return Listed{ID: id, Names: names} }
func forPlatform(id, architecture, variant, name string) Listed {
	p := &v1.Platform{OS: "linux", Architecture: architecture, Variant: variant}
	return Listed{ID: id, Names: []string{name}, Index: "sha256:i", Descriptor: v1.Descriptor{Digest: digest.FromString(id), Platform: p}}
}

func TestSelect(t *testing.T) {
	archive := listSource{
		named("x", "app:1", "docker.io/library/twice:1"), named("y", "docker.io/library/app:2", "twice:1", "Odd Name"),
		named("z"), named("z", "same:1"), named("z", "same:1", "app"),
	}
	several := listSource{
		forPlatform("a", "amd64", "", "app:1"), forPlatform("6", "arm", "v6", "app:1"), forPlatform("7", "arm", "v7", "app:1"),
		forPlatform("8", "arm64", "", "app:1"), forPlatform("o", "amd64", "", "other:1"), forPlatform("n", "amd64", "", "plain:1"),
		{ID: "s", Names: []string{"plain:1"}},
	}
	several[5].Descriptor.Platform = nil
	one := listSource{named("x", "app:1")}
	escapes := listSource{named("x", "\x1b[2J"), {ID: "y", Names: []string{"b"}, Index: "sha256:i", Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "\x1b"}}}}
	for _, tt := range []struct {
		src      listSource
		name     string
		platform string
		want     int
		err      string
	}{
		{archive, "app:1", "", 0, ""},
		{archive, "docker.io/library/app:1", "", 0, ""},
		{archive, "index.docker.io/library/app:2", "", 1, ""},
		{archive, "app:2", "", 1, ""},
		{archive, "Odd Name", "", 1, ""},
		{archive, "@0", "", 0, ""},
		{archive, "@2", "", 2, ""},
		{archive, "same:1", "", 3, ""},
		{archive, "app", "", 4, ""},
		{archive, "app:latest", "", 4, ""},
		{archive, "app:3", "", 0, `image "app:3": file does not exist: it has "app:1", "docker.io/library/twice:1"`},
		{archive, "@5", "", 0, "count from @0"},
		{archive, "@-1", "", 0, "number"},
		{archive, "@x", "", 0, "number"},
		{archive, "twice:1", "", 0, "choose @0, @1"},
		{archive, "", "", 0, "it holds 5 images"},
		{one, "", "", 0, ""},
		{one, "", "arm64", 0, ""},
		{listSource{}, "", "", 0, "no image"},
		{listSource{named("x"), named("y")}, "a", "", 0, "2 images have no names"},
		{several, "app:1", "amd64", 0, ""},
		{several, "app:1", "arm/v7", 2, ""},
		{several, "app:1", "arm64/v8", 3, ""},
		{several, "app:1", "arm", 0, "2 images are for platform linux/arm; the index has linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64"},
		{several, "app:1", "s390x", 0, "0 images are for platform linux/s390x"},
		{several, "app:1", "", 0, "one platform has to be chosen"},
		{several, "other:1", "arm64", 0, "0 images are for platform linux/arm64; the index has linux/amd64"},
		{several, "other:1", "", 4, ""},
		{several, "plain:1", "amd64", 0, "choose @5, @6"},
		{several, "", "amd64", 0, "it holds 7 images"},
		{several[:4], "", "arm64", 3, ""},
		{escapes, "x", "", 0, `"\x1b[2J"`},
		{escapes, "b", "amd64", 0, `the index has \x1b/`},
	} {
		var p v1.Platform
		if tt.platform != "" {
			p.OS = "linux"
			p.Architecture, p.Variant, _ = strings.Cut(tt.platform, "/")
		}
		got, err := Select(tt.src, tt.name, p)
		if tt.err == "" && (err != nil || got != tt.want) {
			t.Errorf("%q for %q: %d, %v; want %d", tt.name, tt.platform, got, err, tt.want)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), `read archive "a.tar": `)) {
			t.Errorf("%q for %q: %v, want %q", tt.name, tt.platform, err, tt.err)
		}
	}
	if _, err := Select(archive, "none", v1.Platform{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is no fs.ErrNotExist", err)
	}
}

// TestSelectDigest: what is called by a digest is what has it.
func TestSelectDigest(t *testing.T) {
	index, manifest, other := digest.FromString("index"), digest.FromString("manifest"), digest.FromString("other")
	of := func(name string, d, index digest.Digest) Listed {
		return Listed{ID: d.String(), Names: []string{name}, Index: index, Descriptor: v1.Descriptor{Digest: d, Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}}
	}
	for _, tt := range []struct {
		called, name string
		d, index     digest.Digest
		err          string
		mismatch     bool
	}{
		{"h.example/app@" + manifest.String(), "h.example/app@" + manifest.String(), manifest, "", "", false},
		{"app:1@" + index.String(), "app:1@" + index.String(), manifest, index, "", false},
		{"docker.io/library/app@" + manifest.String(), "app@" + manifest.String(), manifest, index, "", false},
		{"h.example/app@" + manifest.String(), "h.example/app@" + manifest.String(), other, "", "digest is " + other.String() + ", expected " + manifest.String(), true},
		{"app@" + index.String(), "app@" + index.String(), manifest, other, "digest is " + other.String(), true},
		{"Odd@" + manifest.String(), "Odd@" + manifest.String(), other, "", "digest is " + other.String(), true},
		{"app@" + manifest.String(), "app@" + manifest.String(), "", "", "no manifest whose digest", false},
		{"app@" + manifest.String(), "", other, "", "", false},
		{"app@" + manifest.String(), "@0", other, "", "", false},
	} {
		src := listSource{of(tt.called, tt.d, tt.index)}
		_, one := Select(src, tt.name, v1.Platform{OS: "linux", Architecture: "amd64"})
		_, all := SelectAll(src, tt.name)
		for _, err := range []error{one, all} {
			var mismatch *layer.DigestError
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || errors.As(err, &mismatch) != tt.mismatch {
				t.Errorf("%q of what is called %q: %v, want %q", tt.name, tt.called, err, tt.err)
			}
		}
	}
}

// TestCheckPlatform: an index and a config do not contradict each other.
func TestCheckPlatform(t *testing.T) {
	for _, tt := range []struct {
		listed, config string
		ok             bool
	}{
		{"", "linux/amd64", true}, {"linux/amd64", "linux/amd64", true}, {"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm64", "linux/arm64/v8", true}, {"linux/arm/v7", "linux/arm/v7", true}, {"linux/amd64", "/", true},
		{"linux/amd64", "linux/arm64", false}, {"linux/amd64", "windows/amd64", false}, {"linux/arm/v7", "linux/arm/v6", false},
	} {
		words := func(text string) []string { return append(strings.Split(text, "/"), "", "", "") }
		own := words(tt.config)
		config := &ordjson.Object{}
		config.Set("os", own[0])
		config.Set("architecture", own[1])
		config.Set("variant", own[2])
		img := &Existing{Config: config}
		if tt.listed != "" {
			w := words(tt.listed)
			img.ManifestDescriptor.Platform = &v1.Platform{OS: w[0], Architecture: w[1], Variant: w[2]}
		}
		if err := img.CheckPlatform(); (err == nil) != tt.ok {
			t.Errorf("%q with a config for %q: %v", tt.listed, tt.config, err)
		}
	}
}

func TestSelectMany(t *testing.T) {
	src := listSource{
		named("x", "alone:1"), forPlatform("a", "amd64", "", "app:1"), forPlatform("8", "arm64", "", "app:1"),
		forPlatform("b", "amd64", "", "other:1"), forPlatform("9", "arm64", "", "other:1"),
	}
	for platform, want := range map[string][]int{"amd64": {0, 1, 3}, "arm64": {0, 2, 4}} {
		if got, err := SelectEach(src, v1.Platform{OS: "linux", Architecture: platform}); err != nil || !slices.Equal(got, want) {
			t.Errorf("each for %s: %v, %v, want %v", platform, got, err, want)
		}
	}
	if got, err := SelectEach(src, v1.Platform{OS: "linux", Architecture: "s390x"}); err == nil || !strings.Contains(err.Error(), "the index has linux/amd64, linux/arm64") {
		t.Errorf("each for s390x: %v, %v", got, err)
	}
	for name, want := range map[string][]int{"": {0, 1, 2, 3, 4}, "app:1": {1, 2}, "docker.io/library/other:1": {3, 4}, "alone:1": {0}, "@2": {2}} {
		if got, err := SelectAll(src, name); err != nil || !slices.Equal(got, want) {
			t.Errorf("all of %q: %v, %v, want %v", name, got, err, want)
		}
	}
	if got, err := SelectAll(src, "nothing:1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("all of nothing: %v, %v", got, err)
	}
	if got, err := SelectAll(listSource{}, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("all of none: %v, %v", got, err)
	}
}
