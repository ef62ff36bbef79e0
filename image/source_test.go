package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/layer"
)

// listSource has a list, and images that have only a platform: their IDs are OS/ARCH; with any
// other ID there is no image.
type listSource []Listed

func (l listSource) String() string { return `archive "a.tar"` }
func (l listSource) List() []Listed { return l }
func (l listSource) Open(_ context.Context, i int) (*Stored, error) {
	os, architecture, ok := strings.Cut(l[i].ID, "/")
	if !ok {
		return nil, errors.New("it is not an image")
	}
	config := &ordjson.Object{}
	config.Set("os", os)
	config.Set("architecture", architecture)
	return &Stored{Config: config, ConfigJSON: []byte(l[i].ID)}, nil
}
func (l listSource) Close() error             { return nil }
func named(id string, names ...string) Listed { return Listed{ID: id, Names: names} }
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
	own := listSource{ // as a docker-archive has images
		named("linux/arm64", "first:1"), named("linux/amd64", "same:1"), {ID: "linux/amd64", Index: "sha256:j"}, named("linux/arm64", "same:1"), named("linux/s390x"),
	}
	mixed := listSource{named("x"), named("linux/amd64"), forPlatform("8", "arm64", "v8", "")}
	bare := listSource{forPlatform("8", "arm64", "v8", ""), forPlatform("a", "amd64", "", ""), forPlatform("b", "amd64", "", "")}
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
		{archive, "twice:1", "", 0, "one platform has to be chosen"},
		{archive, "twice:1", "amd64", 0, "0 images are for platform linux/amd64"},
		{archive, "", "amd64", 0, "image 0: it is not an image"},
		{own, "", "amd64", 1, ""},
		{own, "", "arm64", 0, ""},
		{own, "", "s390x", 4, ""},
		{own, "same:1", "amd64", 1, ""},
		{own, "same:1", "arm64", 3, ""},
		{own, "", "riscv64", 0, "the index has linux/arm64, linux/amd64, linux/amd64, linux/s390x"},
		{mixed, "", "amd64", 1, ""},
		{mixed, "", "arm64", 2, ""},
		{bare, "", "arm64", 0, ""},
		{bare, "", "x86_64", 1, ""},
		{bare, "", "s390x", 0, "0 images are for platform linux/s390x; the index has linux/arm64/v8, linux/amd64, linux/amd64"},
		{one, "", "", 0, ""},
		{one, "", "arm64", 0, ""},
		{listSource{}, "", "", 0, "no image"},
		{listSource{named("x"), named("y")}, "a", "", 0, "2 images have no names"},
		{several, "app:1", "amd64", 0, ""},
		{several, "app:1", "arm/v7", 2, ""},
		{several, "app:1", "arm64/v8", 3, ""},
		{several, "app:1", "arm", 1, ""},
		{several, "app:1", "s390x", 0, "0 images are for platform linux/s390x"},
		{several, "app:1", "", 0, "one platform has to be chosen"},
		{several, "other:1", "arm64", 0, "0 images are for platform linux/arm64; the index has linux/amd64"},
		{several, "other:1", "", 4, ""},
		{several, "plain:1", "amd64", 0, "0 images are for platform linux/amd64; the index has an image that names no platform"},
		{several, "", "amd64", 0, ""},
		{several[:4], "", "arm64", 3, ""},
		{escapes, "x", "", 0, `"\x1b[2J"`},
		{escapes, "b", "amd64", 0, `the index has \x1b/`},
	} {
		var p v1.Platform
		if tt.platform != "" {
			p.OS = "linux"
			p.Architecture, p.Variant, _ = strings.Cut(tt.platform, "/")
		}
		got, err := Select(t.Context(), tt.src, tt.name, p)
		if tt.err == "" && (err != nil || got != tt.want) {
			t.Errorf("%q for %q: %d, %v; want %d", tt.name, tt.platform, got, err, tt.want)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), `read archive "a.tar": `)) {
			t.Errorf("%q for %q: %v, want %q", tt.name, tt.platform, err, tt.err)
		}
	}
	if _, err := Select(t.Context(), archive, "none", v1.Platform{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

// TestSelectDigest: a digest selects what has that digest.
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
		_, one := Select(t.Context(), src, tt.name, v1.Platform{OS: "linux", Architecture: "amd64"})
		_, all := SelectAll(t.Context(), src, tt.name)
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
		img := &Stored{Config: config}
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
		named("x", "again:1", "alone:1"), named("y"), named("z"),
		topLevel("c", "amd64", "one:1"), topLevel("d", "arm64", "one:1"), topLevel("e", "arm64", "one:1"), topLevel("a", "amd64", "two:1"),
	}
	src[3].Index, src[4].Index = "sha256:o", "sha256:o"
	for platform, want := range map[string]string{
		"amd64": "[{0 [alone:1 again:1]} {1 [app:1 two:1]} {3 [other:1]} {6 []} {7 []} {8 [one:1]} {10 [one:1]}]",
		"arm64": "[{0 [alone:1 again:1]} {2 [app:1]} {4 [other:1]} {6 []} {7 []} {9 [one:1]} {10 [one:1]} {11 [two:1]}]",
	} {
		got, err := SelectEach(t.Context(), src, v1.Platform{OS: "linux", Architecture: platform})
		if text := fmt.Sprint(got); err != nil || text != want {
			t.Errorf("each for %s: %s, %v, want %s", platform, text, err, want)
		}
	}
	if got, err := SelectEach(t.Context(), src, v1.Platform{OS: "linux", Architecture: "s390x"}); err == nil || !strings.Contains(err.Error(), "the index has linux/amd64, linux/arm64") {
		t.Errorf("each for s390x: %v, %v", got, err)
	}
	for name, want := range map[string][]int{
		"": {0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11}, "app:1": {1, 2}, "docker.io/library/other:1": {3, 4}, "alone:1": {0}, "@2": {2},
		"one:1": {8, 9, 10}, "@" + digest.FromString("8").String(): {2}, "again:1": {5},
	} {
		if got, err := SelectAll(t.Context(), src, name); err != nil || !slices.Equal(got, want) {
			t.Errorf("all of %q: %v, %v, want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"nothing:1", "@" + digest.FromString("none").String()} {
		if got, err := SelectAll(t.Context(), src[1:3], name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("all of %q: %v, %v", name, got, err)
		}
	}
	if got, err := SelectAll(t.Context(), listSource{}, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("all of none: %v, %v", got, err)
	}
	for i, want := range map[int]int{0: 6, 1: 6, 2: 6, 6: 6, 8: 6} {
		if got := Others(src, i); got != want {
			t.Errorf("besides image %d there are %d, want %d", i, got, want)
		}
	}
	if got := Others(listSource{named("x", "a"), named("x", "b")}, 1); got != 0 {
		t.Errorf("besides an image of two names there are %d", got)
	}
}

// topLevel returns an image that a layout lists by itself, and for a platform.
func topLevel(id, architecture, name string) Listed {
	l := forPlatform(id, architecture, "", name)
	l.Index = ""
	return l
}

// TestSelectByDigest: a digest alone is a manifest's, an index's or a config's; with a name it
// has to be that image's.
func TestSelectByDigest(t *testing.T) {
	index := digest.FromString("index")
	src := listSource{
		forPlatform("a", "amd64", "", "app:1"), forPlatform("8", "arm64", "", "app:1"),
		{ID: "linux/s390x", Names: []string{"archive:1"}}, topLevel("b", "amd64", "app:2"),
	}
	src[0].Index, src[1].Index = index, index
	manifest := func(text string) string { return "@" + digest.FromString(text).String() }
	for _, tt := range []struct {
		name, platform string
		want           int
		mismatch       bool
		err            string
	}{
		{manifest("index"), "amd64", 0, false, ""},
		{manifest("index"), "arm64/v8", 1, false, ""},
		{manifest("index"), "s390x", 0, false, "0 images are for platform linux/s390x"},
		{manifest("8"), "amd64", 1, false, ""},
		{"app:1" + manifest("8"), "amd64", 1, false, ""},
		{"docker.io/library/app:1" + manifest("index"), "arm64", 1, false, ""},
		{"app:2" + manifest("b"), "s390x", 3, false, ""},
		{"archive:1" + manifest("linux/s390x"), "amd64", 2, false, ""},
		{"archive:1" + manifest("x"), "amd64", 0, false, "no manifest whose digest"},
		{"app:2" + manifest("a"), "amd64", 0, true, "digest is sha256:"},
		{"app:3" + manifest("a"), "amd64", 0, false, "file does not exist"},
		{manifest("none"), "amd64", 0, false, "file does not exist"},
	} {
		p := v1.Platform{OS: "linux"}
		p.Architecture, p.Variant, _ = strings.Cut(tt.platform, "/")
		got, err := Select(t.Context(), src, tt.name, p)
		var mismatch *layer.DigestError
		if tt.err == "" && (err != nil || got != tt.want) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || errors.As(err, &mismatch) != tt.mismatch {
			t.Errorf("%s for %s: %d, %v; want %d, %q", tt.name, tt.platform, got, err, tt.want, tt.err)
		}
	}
}

// TestSelectLimited: not everything is read of a place that names no platforms.
func TestSelectLimited(t *testing.T) {
	src := make(listSource, maxOpened+1)
	for i := range src {
		src[i] = named(fmt.Sprintf("os%d/amd64", i))
	}
	if _, err := Select(t.Context(), src, "", v1.Platform{OS: "linux", Architecture: "amd64"}); err == nil || !strings.Contains(err.Error(), "of more than 100 images nothing says") {
		t.Errorf("%v", err)
	}
	if i, err := Select(t.Context(), src[:maxOpened], "", v1.Platform{OS: "os99", Architecture: "amd64"}); err != nil || i != 99 {
		t.Errorf("%d, %v", i, err)
	}
}

func TestSelectFor(t *testing.T) {
	own := listSource{
		named("linux/arm64"), named("linux/amd64", "app:1"), forPlatform("a", "amd64", "", "both:1"), forPlatform("8", "arm64", "v8", "both:1"),
		topLevel("s", "s390x", "big:1"), named("x", "no image"), named("linux/arm64", "again:1"), named("linux/aarch64"),
	}
	for _, c := range []struct {
		src            listSource
		platform, want string
		others         int
		err            string
	}{
		{own, "arm64", "[{0 [again:1]} {3 [both:1]} {7 []}]", 3, ""},
		{own, "amd64", "[{1 [app:1]} {2 [both:1]}]", 5, ""},
		{own, "s390x", "[{4 [big:1]}]", 6, ""},
		{own, "riscv64", "", 0, "0 images are for platform linux/riscv64"},
		{own[:1], "amd64", "[{0 []}]", 0, ""}, // the caller is told that it is for another
		{listSource{named("x")}, "amd64", "[{0 []}]", 0, ""},
		{listSource{}, "amd64", "", 0, "no image"},
	} {
		got, others, err := SelectFor(t.Context(), c.src, v1.Platform{OS: "linux", Architecture: c.platform})
		switch text := fmt.Sprint(got); {
		case c.err == "" && (err != nil || text != c.want || others != c.others):
			t.Errorf("%s: %s, %d others, %v; want %s, %d", c.platform, text, others, err, c.want, c.others)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %s, error %v, want one with %q", c.platform, text, err, c.err)
		}
	}
}

func TestCheckFor(t *testing.T) {
	platform := func(text string) *v1.Platform {
		w := append(strings.Split(text, "/"), "", "")
		return &v1.Platform{OS: w[0], Architecture: w[1], Variant: w[2]}
	}
	for _, c := range []struct {
		listed, config, want string
		ok                   bool
	}{
		{"", "linux/arm64", "linux/arm64", true}, {"", "linux/aarch64", "linux/arm64", true}, {"", "linux/amd64", "linux/arm64", false},
		{"linux/arm/v7", "linux/arm", "linux/arm/v7", true}, {"", "linux/arm", "linux/arm/v7", false}, {"linux/arm64", "", "linux/arm64", true},
		{"linux/arm64", "linux/amd64", "linux/arm64", false}, {"linux/arm64", "linux/arm64", "linux/amd64", false},
	} {
		own := platform(c.config)
		config := &ordjson.Object{}
		config.Set("os", own.OS)
		config.Set("architecture", own.Architecture)
		img := &Stored{Config: config}
		if c.listed != "" {
			img.ManifestDescriptor.Platform = platform(c.listed)
		}
		if err := img.CheckFor(*platform(c.want)); (err == nil) != c.ok {
			t.Errorf("%q with a config for %q, for %s: %v", c.listed, c.config, c.want, err)
		}
	}
}
