package ocilayout_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/testtools"
)

// newIndex returns an image for two architectures, which have a layer in common.
func newIndex(architectures ...string) *image.Index {
	shared := newLayer(dir("."), dir("etc"), file("etc/motd", "hello\n"))
	x := &image.Index{Names: image.Names{RepoTags: []string{"test:multi"}}, Annotations: map[string]string{"a": "1"}}
	for _, arch := range architectures {
		d := describe("v1", shared, newLayer(dir("."), file("tool", arch)))
		d.Architecture = arch
		x.Images = append(x.Images, image.New(d))
	}
	return x
}

func TestWriteIndex(t *testing.T) {
	steady(t)
	parent := t.TempDir()
	out := filepath.Join(parent, "out")
	if _, err := ocilayout.WriteDir(t.Context(), newImage("other"), out, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	d, err := ocilayout.WriteIndexDir(t.Context(), newIndex("amd64", "arm64"), out, ocilayout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	sum, err := ocilayout.WriteIndexArchive(t.Context(), &archive, newIndex("amd64", "arm64"), ocilayout.Options{TempDir: parent})
	if err != nil || sum != d {
		t.Fatalf("the archive's index is %s, %v, the directory's %s", sum, err, d)
	}
	name := filepath.Join(parent, "archive.tar")
	if err := os.WriteFile(name, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var index v1.Index
	unmarshal(t, blob(t, out, d), &index)
	if len(index.Manifests) != 2 || index.Manifests[1].Platform.Architecture != "arm64" || index.Annotations["a"] != "1" {
		t.Errorf("index %+v", index)
	}
	for place, want := range map[string]int{out: 3, name: 2} {
		l, err := ocilayout.Open(t.Context(), place, parent)
		if err != nil {
			t.Fatal(err)
		}
		list := l.List()
		if len(list) != want {
			t.Fatalf("%s: %d images, want %d", place, len(list), want)
		}
		for i := want - 2; i < want; i++ {
			if e := list[i]; !slices.Equal(e.Names, []string{"docker.io/library/test:multi", "multi"}) || e.Index != d {
				t.Errorf("%s: %+v is listed", place, e)
			}
			img, err := l.Open(t.Context(), i)
			if err != nil || img.Index() != d || len(img.Layers()) != 2 {
				t.Fatalf("%s: image %+v, %v", place, img, err)
			}
			if data, err := readLayer(img.StoredLayers()[1]); err != nil || !bytes.Contains(data, []byte(img.Platform().Architecture)) {
				t.Errorf("%s: layer of %d bytes, %v", place, len(data), err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(archive.String(), "blobs/sha256/"); n != 1+3+2*2+1 { // the directory, layers, configs and manifests, index
		t.Errorf("the archive has %d members in blobs/sha256", n)
	}
}

// TestRawIndex: an index that is passed on stays as it is if it still lists what
// is there.
func TestRawIndex(t *testing.T) {
	x := newIndex("amd64", "arm64")
	out := filepath.Join(t.TempDir(), "out")
	d, err := ocilayout.WriteIndexDir(t.Context(), x, out, ocilayout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := json.Compact(&raw, blob(t, out, d)); err != nil {
		t.Fatal(err)
	}
	x.Raw = raw.Bytes()
	if got, err := ocilayout.WriteIndexDir(t.Context(), x, out, ocilayout.Options{}); err != nil || got != digest.FromBytes(x.Raw) {
		t.Errorf("index %s, %v", got, err)
	}
	x.Images = x.Images[:1]
	if got, err := ocilayout.WriteIndexDir(t.Context(), x, out, ocilayout.Options{}); err != nil || got == digest.FromBytes(x.Raw) {
		t.Errorf("index of one image: %s, %v", got, err)
	}
}

func TestWriteIndexRefuses(t *testing.T) {
	steady(t)
	out := filepath.Join(t.TempDir(), "out")
	_, err := ocilayout.WriteIndexDir(t.Context(), newIndex("amd64", "amd64"), out, ocilayout.Options{})
	if err == nil || !strings.Contains(err.Error(), "has the platform linux/amd64 too") {
		t.Errorf("two images for a platform: %v", err)
	}
	if _, err := os.Lstat(out); err == nil {
		t.Error("something is left")
	}
}

// TestSkopeoIndex: skopeo copies the index whole, and picks an image of it.
func TestSkopeoIndex(t *testing.T) {
	testtools.Need(t, "skopeo")
	temp := t.TempDir()
	out := filepath.Join(temp, "out")
	d, err := ocilayout.WriteIndexDir(t.Context(), newIndex("amd64", "arm64"), out, ocilayout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	raw := run(t, "skopeo", "inspect", "--raw", "oci:"+out+":multi")
	if digest.FromBytes(raw) != d {
		t.Errorf("skopeo reads %s", raw)
	}
	copied := filepath.Join(temp, "copied")
	run(t, "skopeo", "copy", "--all", "--insecure-policy", "--quiet", "--preserve-digests", "oci:"+out+":multi", "oci:"+copied+":multi")
	if err := readAll(t.Context(), copied); err != nil {
		t.Errorf("reading skopeo's copy: %v", err)
	}
	var inspected struct{ Architecture string }
	unmarshal(t, run(t, "skopeo", "inspect", "--override-arch", "arm64", "oci:"+out+":multi"), &inspected)
	if inspected.Architecture != "arm64" {
		t.Errorf("for arm64 skopeo takes %+v", inspected)
	}
}
