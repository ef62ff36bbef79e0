package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestTagged: a name without a tag gets one made of the image id, and any other stays.
func TestTagged(t *testing.T) {
	d, layers := fakeImage(1)
	tagged := func(names ...string) []string {
		t.Helper()
		img := Named{New(d), Names{RepoTags: names, RefNames: []string{"v1"}}}
		got, err := img.Tagged(t.Context())
		if err != nil || !slices.Equal(got.RefNames, img.RefNames) || !slices.Equal(img.RepoTags, names) {
			t.Fatalf("%q are %+v, %v", names, got, err)
		}
		return got.RepoTags
	}
	a := tagged("a")
	if len(a) != 1 || len(a[0]) != len("a:")+32 || !strings.HasPrefix(a[0], "a:") {
		t.Errorf("tag made of the id: %q", a)
	}
	if b := tagged("b:1", "localhost:5000/a", "a:2"); len(b) != 3 || b[0] != "b:1" || b[1] != "localhost:5000/"+a[0] || b[2] != "a:2" {
		t.Errorf("of several names: %q", b)
	}
	reads := layers[0].reads.Load()
	if got := tagged("a:1.2"); !slices.Equal(got, []string{"a:1.2"}) {
		t.Errorf("own tag: %q", got)
	}
	if layers[0].reads.Load() != reads {
		t.Error("the layers are read where no name needs the id")
	}
	layers[0].text = "other"
	if b := tagged("a"); slices.Equal(a, b) {
		t.Error("another image has the same tag")
	}
	broken := errors.New("broken")
	layers[0].err = broken
	if got, err := (Named{New(d), Names{RepoTags: []string{"a"}}}).Tagged(t.Context()); !errors.Is(err, broken) || got.RepoTags != nil {
		t.Errorf("an image whose layer cannot be read is called %q, %v", got.RepoTags, err)
	}
	layers[0].err = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Named{New(d), Names{RepoTags: []string{"a"}}}).Tagged(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestIndexTagged: the tag of an index is made of the ids of all its images.
func TestIndexTagged(t *testing.T) {
	one, _ := fakeImage(1)
	two, _ := fakeImage(2)
	tag := func(images ...Image) string {
		t.Helper()
		names, err := (&Index{Images: images, Names: Names{RepoTags: []string{"a"}}}).Tagged(t.Context())
		if err != nil || len(names.RepoTags) != 1 || len(names.RepoTags[0]) != len("a:")+32 {
			t.Fatalf("%+v, %v", names, err)
		}
		return names.RepoTags[0]
	}
	a := tag(New(one), New(two))
	if a != tag(New(one), New(two)) {
		t.Error("the same images have another tag")
	}
	for _, other := range [][]Image{{New(two), New(one)}, {New(one)}, {New(one), New(one)}} {
		if tag(other...) == a {
			t.Errorf("%d other images have the same tag", len(other))
		}
	}
}

func TestRenamed(t *testing.T) {
	for _, c := range []struct{ before, after, repository string }{
		{"", "x:1", ""},
		{"a:1", "x:1", "a"},
		{"a", "x:1", "a"},
		{"localhost:5000/a:1 b:2 c:3", "x:1 b:2 c:3", "localhost:5000/a"},
		{"localhost:5000/a", "x:1", "localhost:5000/a"},
	} {
		n := Names{RepoTags: strings.Fields(c.before), RefNames: []string{"v1"}}
		got := n.Renamed("x:1")
		if !slices.Equal(got.RepoTags, strings.Fields(c.after)) || !slices.Equal(got.RefNames, n.RefNames) {
			t.Errorf("%q renamed: %+v, want %q", c.before, got, c.after)
		}
		if !slices.Equal(n.RepoTags, strings.Fields(c.before)) {
			t.Errorf("%q has become %q", c.before, n.RepoTags)
		}
		if got := n.Repository(); got != c.repository {
			t.Errorf("the repository of %q is %q, want %q", c.before, got, c.repository)
		}
	}
}

func TestTag(t *testing.T) {
	for name, want := range map[string]string{
		"a:1": "1", "a": "", "localhost:5000/a": "", "localhost:5000/a:b": "b", "": "", "UPPER:t": "", "v1": "",
		"a:1@sha256:" + strings.Repeat("0", 64): "1",
	} {
		if got := Tag(name); got != want {
			t.Errorf("the tag of %q is %q, want %q", name, got, want)
		}
	}
}

func TestReferences(t *testing.T) {
	refs, err := Names{RepoTags: []string{"app:1", "reg.example:5000/a/b:x"}}.References()
	if got := fmt.Sprint(refs); err != nil || got != "[docker.io/library/app:1 reg.example:5000/a/b:x]" {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"app", "UPPER:1", "a b:1", ""} {
		if refs, err := (Names{RepoTags: []string{"app:1", bad}}).References(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("%q: %v, %v", bad, refs, err)
		}
	}
}

// TestInPlaceOfTag: only a single name within a layout replaces the tag of a single NAME:TAG.
func TestInPlaceOfTag(t *testing.T) {
	for want, all := range map[string][]Names{
		"v1": {{RepoTags: []string{"a:1"}, RefNames: []string{"v1"}}},
		"": {
			{}, {RepoTags: []string{"a:1"}}, {RefNames: []string{"v1"}},
			{RepoTags: []string{"a:1", "a:2"}, RefNames: []string{"v1"}}, {RepoTags: []string{"a:1"}, RefNames: []string{"v1", "v2"}},
		},
	} {
		for _, n := range all {
			if got := n.InPlaceOfTag(); got != want {
				t.Errorf("of %+v it is %q, want %q", n, got, want)
			}
		}
	}
}

func TestSplitRepoTag(t *testing.T) {
	for ref, want := range map[string]string{
		"a:b": "a b", "localhost:5000/a/b:c": "localhost:5000/a/b c",
		"a": "", "a:": "", ":b": "", "localhost:5000/a": "", "": "", "UP_PER/x:t": "", "a:b c": "", "a b:c": "",
		"a:b@sha256:" + strings.Repeat("0", 64): "",
	} {
		name, tag, err := SplitRepoTag(ref)
		if got := strings.TrimSpace(name + " " + tag); got != want || (err == nil) != (want != "") {
			t.Errorf("SplitRepoTag(%q) = %q, %v; want %q", ref, got, err, want)
		}
	}
}

// TestNamesFor: a copy keeps the name that it was asked for by, or all.
func TestNamesFor(t *testing.T) {
	names := []string{"docker.io/library/app:1", "1", "app:1", "app:latest", "reg.example:5000/a/b:x", "h.example/a@sha256:" + strings.Repeat("0", 64)}
	names = append(names, "v5", "App:2", "no/tag", "v5", "two words", "@0")
	all, refs := "[docker.io/library/app:1 app:latest reg.example:5000/a/b:x]", "[1 v5 App:2 no/tag]"
	for asked, want := range map[string]string{
		"": all + refs, "1": all + "[1]", "v5": all + "[v5]", "no/tag": all + "[no/tag]", "@0": all + refs, "two words": all + refs,
		"app:latest": "[app:latest][]", "app": "[app:latest][]", "app:1": "[docker.io/library/app:1][]",
	} {
		kept := NamesFor(names, asked)
		if got := fmt.Sprint(kept.RepoTags) + fmt.Sprint(kept.RefNames); got != want {
			t.Errorf("asked for %q: %s, want %s", asked, got, want)
		}
	}
}
