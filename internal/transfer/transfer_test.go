package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// fileLayer returns a layer of one file with that name.
func fileLayer(name string) image.Layer {
	return layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			_ = yield(tree.NewDir(".", 0o755), nil) && yield(tree.NewFile(name, 0o644, name), nil)
		}
	}, layer.Options{})
}

// newImage returns an image for an architecture, with a layer for each name.
func newImage(arch string, layers ...string) image.Image {
	d := image.Description{OS: "linux", Architecture: arch, Created: "1970-01-01T00:00:01Z"}
	for _, name := range layers {
		d.Layers, d.History = append(d.Layers, fileLayer(name)), append(d.History, image.History{})
	}
	return image.New(d)
}

// store writes an image where a reference says, and returns the reference.
func store(t *testing.T, ref string, img image.Image, names ...string) string {
	t.Helper()
	if _, err := transfer.Write(t.Context(), to(t, ref), []image.Named{{Image: img, Names: image.NamesFor(names, "")}}, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	return ref
}

func to(t *testing.T, ref string) transfer.Destination {
	t.Helper()
	d, err := transfer.To(ref)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// open opens all images of a reference.
func open(t *testing.T, ref string) []*place.Image {
	t.Helper()
	found, err := place.OpenPlatforms(t.Context(), ref, place.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { found.Close() })
	return found.List
}

// wrong reports whether err is an error in a reference that contains a text.
func wrong(err error, text string) bool {
	var ref *place.RefError
	return errors.As(err, &ref) && strings.Contains(err.Error(), text)
}

func TestTo(t *testing.T) {
	tests := []struct {
		text string
		want compress.Algorithm
		err  string
	}{
		{"a.tar", compress.None, ""},
		{"a.tar.gz", compress.Gzip, ""},
		{"docker-archive:a", compress.None, ""},
		{"docker-archive:a.tar.zst:a:1", compress.Zstd, ""},
		{"oci:a", "", ""},
		{"layer:a", "", "an image is more than one layer"},
		{"a", "", "does not say what it is to be"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			d, err := transfer.To(tt.text)
			if tt.err != "" {
				if !wrong(err, tt.err) {
					t.Errorf("got the error %v", err)
				}
				return
			}
			if err != nil || d.Compression.Algorithm != tt.want || d.Text != tt.text {
				t.Errorf("got %+v, %v", d, err)
			}
		})
	}
}

func TestCopy(t *testing.T) {
	dir := t.TempDir()
	one := store(t, dir+"/one.tar", newImage("amd64", "a"), "a:1")
	tagged := store(t, "oci:"+dir+"/tagged:v1", newImage("amd64", "a"))
	two := "oci:" + dir + "/two"
	store(t, two+":a:1", newImage("amd64", "a"))
	store(t, two+":b:1", newImage("amd64", "b"))
	tests := []struct {
		name, from, to string
		want           []string // names at the destination, one for each image
		err            string
	}{
		{"one image", one, "oci:DIR/out", []string{"a:1"}, ""},
		{"by another name", one, "oci:DIR/out:b:2", []string{"a:1,b:2"}, ""},
		{"two images", two, "DIR/out.tar", []string{"a:1", "b:1"}, ""},
		{"one of two", two + ":b:1", "DIR/out.tar", []string{"b:1"}, ""},
		{"a tag alone to an archive", tagged, "DIR/out.tar", []string{""}, ""},
		{"two images by one name", two, "DIR/out.tar", nil, ""},
		{"nothing there", dir + "/none.tar", "DIR/out.tar", nil, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref := strings.ReplaceAll(tt.to, "DIR", t.TempDir())
			if tt.name == "two images by one name" {
				ref, tt.err = "docker-archive:"+ref+":c:1", "holds 2 images"
			}
			sent, err := transfer.Copy(t.Context(), tt.from, to(t, ref), transfer.Options{Wanted: place.Wanted{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}}})
			if tt.err != "" {
				if !wrong(err, tt.err) {
					t.Errorf("got the error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range sent {
				names = append(names, strings.Join(s.Names, ","))
				if s.Layers != 1 || s.ID == "" {
					t.Errorf("got %+v", s)
				}
			}
			if !slices.Equal(names, tt.want) {
				t.Errorf("got the names %q", names)
			}
		})
	}
}

// TestCopyAdvises: what gets lost, and what is odd, is reported, and the images are copied all
// the same.
func TestCopyAdvises(t *testing.T) {
	dir := t.TempDir()
	ref := store(t, "oci:"+dir+"/a:v1", newImage("amd64", "a"))
	var advice []error
	opts := transfer.Options{Advise: func(err error) { advice = append(advice, err) }}
	if _, err := transfer.Copy(t.Context(), ref, to(t, dir+"/a.tar"), opts); err != nil {
		t.Fatal(err)
	}
	var nameless *transfer.NamelessError
	if len(advice) != 1 || !errors.As(advice[0], &nameless) || !slices.Equal(nameless.Names, []string{"v1"}) {
		t.Errorf("got %v", advice)
	}
}

func TestIndex(t *testing.T) {
	dir := t.TempDir()
	amd64 := store(t, dir+"/amd64.tar", newImage("amd64", "a"), "app:1", "app:amd64")
	arm64 := store(t, dir+"/arm64.tar", newImage("arm64", "a"), "app:arm64", "app:1")
	again := store(t, dir+"/again.tar", newImage("arm64", "b"))
	platform := func(arch string) v1.Platform { return v1.Platform{OS: "linux", Architecture: arch} }
	tests := []struct {
		name  string
		refs  []string
		x     transfer.IndexOptions
		archs []string
		named string
		err   string
	}{
		{"two", []string{amd64, arm64}, transfer.IndexOptions{}, []string{"amd64", "arm64"}, "app:1", ""},
		{"by another name", []string{amd64, arm64}, transfer.IndexOptions{Name: "b:2"}, []string{"amd64", "arm64"}, "b:2", ""},
		{"one platform", []string{amd64, arm64}, transfer.IndexOptions{Platforms: []v1.Platform{platform("arm64")}}, []string{"arm64"}, "app:arm64", ""},
		{"twice", []string{arm64, again}, transfer.IndexOptions{}, nil, "", "both have an image for linux/arm64"},
		{"a platform that is not there", []string{amd64}, transfer.IndexOptions{Platforms: []v1.Platform{platform("riscv64")}}, nil, "", "riscv64"},
		{"a name that is not one", []string{amd64}, transfer.IndexOptions{Name: "B"}, nil, "", "B"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref := "oci:" + t.TempDir() + "/out"
			sent, err := transfer.Index(t.Context(), tt.refs, to(t, ref), tt.x, transfer.Options{})
			if tt.err != "" {
				if !wrong(err, tt.err) {
					t.Errorf("got the error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var archs []string
			for _, p := range sent.Platforms {
				archs = append(archs, p.Architecture)
			}
			if !slices.Equal(archs, tt.archs) || !slices.Equal(sent.Names, []string{tt.named}) {
				t.Errorf("got %v, called %v", archs, sent.Names)
			}
			if got := len(open(t, ref+":"+tt.named)); got != len(tt.archs) {
				t.Errorf("the layout has %d images", got)
			}
		})
	}
	if _, err := transfer.Index(t.Context(), []string{amd64}, to(t, "docker-archive:"+dir+"/out.tar"), transfer.IndexOptions{}, transfer.Options{}); !wrong(err, "has no place for") {
		t.Errorf("an index in a docker-archive: got the error %v", err)
	}
}

// TestCopyAll: an index is passed on byte for byte.
func TestCopyAll(t *testing.T) {
	dir := t.TempDir()
	from, copied := "oci:"+dir+"/from", "oci:"+dir+"/copied"
	refs := []string{store(t, dir+"/a.tar", newImage("amd64", "a")), store(t, dir+"/b.tar", newImage("arm64", "a"))}
	x, err := transfer.Index(t.Context(), refs, to(t, from), transfer.IndexOptions{Name: "app:1"}, transfer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := transfer.CopyAll(t.Context(), from, to(t, copied), transfer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(sent) != 1 || sent[0].Manifest.Digest != x.Manifest.Digest || len(sent[0].Platforms) != 2 {
		t.Errorf("got %+v of %+v", sent, x)
	}
	if _, err := transfer.CopyAll(t.Context(), from, to(t, "docker-archive:"+dir+"/out.tar"), transfer.Options{}); !wrong(err, "has no place for") {
		t.Errorf("to a docker-archive: got the error %v", err)
	}
	alone, err := transfer.CopyAll(t.Context(), refs[0], to(t, dir+"/out.tar"), transfer.Options{})
	if err != nil || len(alone) != 1 || len(alone[0].Platforms) != 0 {
		t.Errorf("of one image: got %+v, %v", alone, err)
	}
}

func TestMerge(t *testing.T) {
	dir := t.TempDir()
	a := store(t, dir+"/a.tar", newImage("amd64", "a"), "a:1")
	b := store(t, dir+"/b.tar", newImage("amd64", "b"), "b:1")
	sent, err := transfer.Merge(t.Context(), []string{a, b}, to(t, dir+"/both.tar"), transfer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(sent) != 2 || len(open(t, dir+"/both.tar")) != 2 {
		t.Errorf("got %+v", sent)
	}
	if _, err := transfer.Merge(t.Context(), []string{a, dir + "/both.tar"}, to(t, dir+"/c.tar"), transfer.Options{}); !wrong(err, `both hold an image called "a:1"`) {
		t.Errorf("got the error %v", err)
	}
}

func TestRebase(t *testing.T) {
	dir := t.TempDir()
	old := store(t, dir+"/old.tar", newImage("amd64", "os1"))
	fixed := store(t, dir+"/fixed.tar", newImage("amd64", "os2", "more"))
	app := store(t, dir+"/app.tar", newImage("amd64", "os1", "app"), "app:1")
	var layers []string
	opts := transfer.Options{Progress: func(_ context.Context, n int, title string) (func(image.Event), func()) {
		layers = append(layers, fmt.Sprint(n, " ", title))
		return nil, func() {}
	}}
	done, err := transfer.Rebase(t.Context(), app, transfer.Bases{Old: old, New: fixed}, to(t, dir+"/out.tar"), opts)
	if err != nil {
		t.Fatal(err)
	}
	if done.Old != 1 || done.New != 2 || done.Kept != 1 || done.Layers != 3 || !slices.Equal(done.Names, []string{"app:1"}) {
		t.Errorf("got %+v", done)
	}
	if !slices.Equal(layers, []string{"3 writing app"}) {
		t.Errorf("got the progress %q", layers)
	}
	if out := open(t, filepath.Join(dir, "out.tar"))[0]; len(out.DiffIDs) != 3 || out.DiffIDs[2] != open(t, app)[0].DiffIDs[1] {
		t.Errorf("got the layers %v", out.DiffIDs)
	}
	if _, err := transfer.Rebase(t.Context(), app, transfer.Bases{Old: fixed, New: old}, to(t, dir+"/no.tar"), opts); !wrong(err, "the image is not built on the old base") && !wrong(err, "it is not built on it") {
		t.Errorf("the wrong base: got the error %v", err)
	}
	tests := []struct {
		name  string
		bases transfer.Bases
		isNew bool
	}{
		{"no old base", transfer.Bases{New: fixed}, false},
		{"no new base", transfer.Bases{Old: old}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := transfer.Rebase(t.Context(), app, tt.bases, to(t, dir+"/no.tar"), opts)
			var unknown *transfer.UnknownBaseError
			if !errors.As(err, &unknown) || unknown.New != tt.isNew {
				t.Errorf("got the error %v", err)
			}
		})
	}
}
