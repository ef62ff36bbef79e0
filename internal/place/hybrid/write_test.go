package hybrid_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place/hybrid"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// newLayer returns a layer with a file.
func newLayer(name, content string) *layer.Layer {
	entries := tree.All([]*tree.Entry{tree.NewFile(name, 0o644, content)})
	return layer.New(func() tree.Seq { return entries }, layer.Options{Dialect: layer.GNU, Prefix: "./", Title: name})
}

// built returns an image for an architecture.
func built(arch string, annotations map[string]string, layers ...image.Layer) image.Image {
	return image.New(image.Description{
		Layers: layers, History: make([]image.History, len(layers)), OS: "linux", Architecture: arch, ModTime: 7, Annotations: annotations,
	})
}

// members returns an archive's members, in their order, and their content.
func members(t *testing.T, data []byte) (names []string, content map[string]string) {
	t.Helper()
	content = map[string]string{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, content
		}
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 7 || h.Uname != "" || h.Mode != 0o644 && h.Mode != 0o755 {
			t.Errorf("header %+v", h)
		}
		if hex, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && hex != "" && digest.FromBytes(all).Encoded() != hex {
			t.Errorf("blob %s has the digest %s", hex, digest.FromBytes(all))
		}
		names = append(names, h.Name)
		content[h.Name] = string(all)
	}
}

// TestWriteIndex: the layout has all platforms and manifest.json the first. A layer that images
// have in common is there once, and layers are not compressed.
func TestWriteIndex(t *testing.T) {
	common := newLayer("etc", "common")
	x := &image.Index{
		Images: []image.Image{
			built("arm64", nil, common, newLayer("a", "a")), built("amd64", nil, common, newLayer("b", "b")),
		},
		Names: image.Names{RepoTags: []string{"app:1", "app:2"}, RefNames: []string{"stable"}}, Annotations: map[string]string{"who": "me"},
	}
	var out bytes.Buffer
	layers := 0
	written, err := hybrid.WriteIndex(t.Context(), &out, x, hybrid.Options{Observe: func(e image.Event) {
		if e.Layers != 4 {
			t.Errorf("event %+v, want one of 4 layers", e)
		}
		if e.Done {
			layers++
		}
	}})
	if err != nil || layers != 4 || !slices.Equal(written.Names, []string{"app:1", "app:2"}) {
		t.Fatalf("%+v, %d layers, %v", written, layers, err)
	}
	names, content := members(t, out.Bytes())
	if len(names) != 3+3+2+2+1+2 || names[0] != "oci-layout" || names[1] != "blobs/" || names[len(names)-2] != "index.json" || names[len(names)-1] != "manifest.json" {
		t.Errorf("members %q", names)
	}
	var docker []struct {
		Config           string
		RepoTags, Layers []string
	}
	var top, index v1.Index
	unmarshal(t, content["manifest.json"], &docker)
	unmarshal(t, content["index.json"], &top)
	unmarshal(t, content[ocilayout.BlobPath(written.Manifest.Digest)], &index)
	if len(docker) != 1 || !slices.Equal(docker[0].RepoTags, written.Names) || !strings.Contains(content[docker[0].Config], "arm64") {
		t.Errorf("manifest.json is %s", content["manifest.json"])
	}
	for n, l := range docker[0].Layers {
		if info, err := x.Images[0].Layers()[n].Info(t.Context()); err != nil || l != ocilayout.BlobPath(info.DiffID) {
			t.Errorf("layer %d is %s, want %s, %v", n, l, info.DiffID, err)
		}
	}
	var called []string
	for _, d := range top.Manifests {
		if d.Digest != written.Manifest.Digest || d.MediaType != v1.MediaTypeImageIndex {
			t.Errorf("index.json lists %+v", d)
		}
		called = append(called, d.Annotations[ocilayout.AnnotationName]+" "+d.Annotations[v1.AnnotationRefName])
	}
	if want := []string{"docker.io/library/app:1 1", "docker.io/library/app:2 2"}; !slices.Equal(called, want) {
		t.Errorf("index.json has the names %q, want %q", called, want)
	}
	if len(index.Manifests) != 2 || index.Annotations["who"] != "me" {
		t.Errorf("the index is %+v", index)
	}
	src, err := openBytes(t.Context(), out.Bytes(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for want, p := range []string{"arm64", "amd64"} {
		if i, err := image.Select(t.Context(), src, "app:2", v1.Platform{OS: "linux", Architecture: p}); err != nil || i != want || len(src.List()) != 4 { // each by both names
			t.Errorf("the image for %s is number %d of %d, %v", p, i, len(src.List()), err)
		}
	}
}

func unmarshal(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}

// TestOmit: a layer that is left out is not read twice, and both halves list it. All other bytes
// are the same.
func TestOmit(t *testing.T) {
	named := func() []image.Named {
		img := built("amd64", nil, newLayer("a", "a"), newLayer("b", "b"))
		return []image.Named{{Image: img, Names: image.Names{RepoTags: []string{"app:1"}}}}
	}
	var whole, part bytes.Buffer
	if _, err := hybrid.Write(t.Context(), &whole, named(), hybrid.Options{}); err != nil {
		t.Fatal(err)
	}
	images := named()
	info, err := images[0].Layers()[0].Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	omit := func(d digest.Digest) bool { return d == info.DiffID }
	if _, err := hybrid.Write(t.Context(), &part, images, hybrid.Options{Omit: omit}); err != nil {
		t.Fatal(err)
	}
	_, want := members(t, whole.Bytes())
	_, got := members(t, part.Bytes())
	delete(want, ocilayout.BlobPath(info.DiffID))
	if !maps.Equal(got, want) {
		t.Errorf("members %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// compressed returns an image whose layers a layout has compressed.
func compressed(t *testing.T, algorithm compress.Algorithm, img image.Image) *image.Stored {
	t.Helper()
	dir := t.TempDir()
	opts := ocilayout.Options{Compression: compress.Compression{Algorithm: algorithm}}
	if _, err := ocilayout.WriteDir(t.Context(), image.Named{Image: img}, dir, opts); err != nil {
		t.Fatal(err)
	}
	l, err := ocilayout.Open(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	stored, err := l.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// TestStored: layers that are stored compressed are unpacked, and have the digests of their tars.
func TestStored(t *testing.T) {
	img := built("amd64", nil, newLayer("a", strings.Repeat("a", 1<<20)), newLayer("b", "b"))
	var want bytes.Buffer
	if _, err := hybrid.Write(t.Context(), &want, []image.Named{{Image: img}}, hybrid.Options{}); err != nil {
		t.Fatal(err)
	}
	_, wanted := members(t, want.Bytes())
	for _, algorithm := range []compress.Algorithm{compress.Gzip, compress.Zstd, compress.None} {
		var got bytes.Buffer
		stored := compressed(t, algorithm, img)
		if _, err := hybrid.Write(t.Context(), &got, []image.Named{{Image: stored}}, hybrid.Options{TempDir: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		content := map[string]string{}
		r := tar.NewReader(&got)
		for h, err := r.Next(); err == nil; h, err = r.Next() {
			all, _ := io.ReadAll(r)
			content[h.Name] = string(all)
		}
		if !maps.Equal(content, wanted) {
			t.Errorf("%s: members %q, want %q", algorithm, slices.Sorted(maps.Keys(content)), slices.Sorted(maps.Keys(wanted)))
		}
	}
}

// TestCopy: what is read from an archive is compressed elsewhere, as if it had never been in one,
// with its annotations; written to an archive again it keeps its manifest.
func TestCopy(t *testing.T) {
	img := built("amd64", map[string]string{"a": "b"}, newLayer("a", "a"), newLayer("b", "b"))
	var first, second bytes.Buffer
	written, err := hybrid.Write(t.Context(), &first, []image.Named{{Image: img}}, hybrid.Options{})
	if err != nil {
		t.Fatal(err)
	}
	src, err := openBytes(t.Context(), first.Bytes(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	stored, err := src.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := hybrid.Write(t.Context(), &second, []image.Named{{Image: stored}}, hybrid.Options{})
	if err != nil || again[0].Manifest.Digest != written[0].Manifest.Digest {
		t.Errorf("written again it is %+v, and was %+v, %v", again, written, err)
	}
	digests := map[string]digest.Digest{}
	for what, img := range map[string]image.Image{"built": img, "read": stored} {
		if digests[what], err = ocilayout.WriteDir(t.Context(), image.Named{Image: img}, t.TempDir(), ocilayout.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	// What varve says of how it compressed a layer it says of what it has built alone.
	if fmt.Sprint(stored.Annotations) != "map[a:b]" || digests["built"] == "" || digests["read"] != digests["built"] {
		t.Errorf("in a layout they are %s; annotations %v", digests, stored.Annotations)
	}
}

// TestCancel: nothing is written after the context's end.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	img := built("amd64", nil, newLayer("a", "a"))
	for what, err := range map[string]error{
		"image": func() error {
			_, err := hybrid.Write(ctx, io.Discard, []image.Named{{Image: img}}, hybrid.Options{})
			return err
		}(),
		"index": func() error {
			_, err := hybrid.WriteIndex(ctx, io.Discard, &image.Index{Images: []image.Image{img}}, hybrid.Options{})
			return err
		}(),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
