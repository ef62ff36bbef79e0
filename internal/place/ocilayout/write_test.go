package ocilayout_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place/ocilayout"
)

var compressions = []string{"none", "gz", "zstd"}

func parse(t testing.TB, s string) compress.Compression {
	t.Helper()
	c, err := compress.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWriteDir(t *testing.T) {
	mediaTypes := map[string]string{
		"none": "application/vnd.oci.image.layer.v1.tar",
		"gz":   "application/vnd.oci.image.layer.v1.tar+gzip",
		"zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
	}
	for _, c := range compressions {
		t.Run(c, func(t *testing.T) {
			steady(t)
			parent := t.TempDir()
			out := filepath.Join(parent, "out")
			img := newImage("v1")
			d, err := ocilayout.WriteDir(t.Context(), img, out+"/", ocilayout.Options{Compression: parse(t, c)})
			if err != nil {
				t.Fatal(err)
			}
			var manifest v1.Manifest
			data := blob(t, out, d)
			unmarshal(t, data, &manifest)
			wantIndex(t, out, d, len(data), "v1")
			if manifest.MediaType != v1.MediaTypeImageManifest || len(manifest.Layers) != 3 || manifest.Annotations["a"] != "1" {
				t.Errorf("manifest %s", data)
			}
			if manifest.Layers[0].Digest != manifest.Layers[2].Digest {
				t.Error("the layer that is there twice has two digests")
			}
			for i, l := range manifest.Layers {
				packed := blob(t, out, l.Digest)
				if l.MediaType != mediaTypes[c] || l.Size != int64(len(packed)) {
					t.Errorf("layer %d: %+v of %d bytes", i, l, len(packed))
				}
				if got := decompressed(t, packed); !bytes.Equal(got, tarOf(t, img.Layers()[i])) {
					t.Errorf("layer %d is not the tar that went in", i)
				}
			}
			config, err := img.RawConfig(t.Context())
			if err != nil || !bytes.Equal(blob(t, out, manifest.Config.Digest), config) {
				t.Errorf("config differs (%v)", err)
			}
			if n := len(ls(t, out)); n != 3 || len(ls(t, out+"/blobs/sha256")) != 4 || len(ls(t, parent)) != 1 {
				t.Errorf("files that do not belong there:\n%s", snapshot(t, parent))
			}
		})
	}
}

func wantIndex(t *testing.T, dir string, d digest.Digest, size int, tag string) {
	t.Helper()
	want := fmt.Sprintf(`{
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": "%s",
            "size": %d,
            "annotations": {
                "io.containerd.image.name": "docker.io/library/test:%s",
                "org.opencontainers.image.ref.name": "%[3]s"
            },
            "platform": {
                "architecture": "amd64",
                "os": "linux"
            }
        }
    ]
}`, d, size, tag)
	if got := string(mustRead(t, dir+"/index.json")); got != want {
		t.Errorf("index.json:\n%s\nwant:\n%s", got, want)
	}
	if got := string(mustRead(t, dir+"/oci-layout")); got != `{"imageLayoutVersion": "1.0.0"}` {
		t.Errorf("oci-layout: %s", got)
	}
}

func blob(t testing.TB, dir string, d digest.Digest) []byte {
	t.Helper()
	data := mustRead(t, filepath.Join(dir, "blobs/sha256", d.Encoded()))
	if digest.FromBytes(data) != d {
		t.Fatalf("blob %s has the digest %s", d, digest.FromBytes(data))
	}
	return data
}

func unmarshal(t testing.TB, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

func decompressed(t testing.TB, data []byte) []byte {
	t.Helper()
	r, _, err := compress.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ls(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestManifestDigests fixes the digests by which registries would know an image.
func TestManifestDigests(t *testing.T) {
	for c, want := range map[string]string{
		"none": "sha256:720c5e7e0fa6f29637b685da9d0d0a90ada1cd277fa7771baa7383ddd3560208",
		"gz":   "sha256:2b9a6c9ef34e6586dee037365ca4f8c1df96c6bfffe706b4e32fec9903cfa86f",
		"zstd": "sha256:cfb85bbc9a0af4e9d0e668e3180ddcf5628ad9404112009f76d7294ceedf67c2",
	} {
		d, err := ocilayout.WriteArchive(t.Context(), io.Discard, newImage("v1"), ocilayout.Options{Compression: parse(t, c)})
		if err != nil || d.String() != want {
			t.Errorf("%s: %s, %v; want %s: this is a change of format", c, d, err, want)
		}
	}
}

func TestArchiveIsALayoutInOrder(t *testing.T) {
	steady(t)
	temp := t.TempDir()
	img := newImage("v1", bigLayer("slow", 3<<20), newLayer(file("quick", "1")), newLayer(file("quicker", "2")), newLayer(file("last", "3")))
	var first []byte
	for _, procs := range []int{1, 2, 8} {
		old := runtime.GOMAXPROCS(procs)
		var out bytes.Buffer
		d, err := ocilayout.WriteArchive(t.Context(), &out, img, ocilayout.Options{TempDir: temp})
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out.Bytes()
			checkArchive(t, first, d)
		} else if !bytes.Equal(first, out.Bytes()) {
			t.Errorf("GOMAXPROCS=%d gives other bytes", procs)
		}
	}
	if left := ls(t, temp); left != nil {
		t.Errorf("left in the temporary directory: %q", left)
	}
}

// checkArchive reads an archive with archive/tar and compares it with the
// directory that it represents.
func checkArchive(t *testing.T, data []byte, d digest.Digest) {
	t.Helper()
	var names []string
	var manifest v1.Manifest
	contents := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		wantMode := int64(0o644)
		if h.Typeflag == tar.TypeDir {
			wantMode = 0o755
		}
		if h.Uid != 0 || h.Gid != 0 || h.Mode != wantMode || h.ModTime.Unix() != 1 || h.Format == tar.FormatGNU {
			t.Errorf("member %+v", h)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		contents[h.Name] = content
	}
	path := func(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }
	unmarshal(t, contents[path(d)], &manifest)
	want := []string{"oci-layout", "blobs/", "blobs/sha256/"}
	for _, l := range manifest.Layers {
		want = append(want, path(l.Digest))
	}
	want = append(want, path(manifest.Config.Digest), path(d), "index.json")
	if !slices.Equal(names, want) {
		t.Errorf("members\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	for name, content := range contents {
		if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && hex != "" && digest.FromBytes(content).Encoded() != hex {
			t.Errorf("member %s has the digest %s", name, digest.FromBytes(content))
		}
	}
}

func TestDirAndArchiveHoldTheSame(t *testing.T) {
	for _, c := range compressions {
		out := filepath.Join(t.TempDir(), "out")
		opts := ocilayout.Options{Compression: parse(t, c)}
		inDir, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, opts)
		if err != nil {
			t.Fatal(err)
		}
		inArchive, err := ocilayout.WriteArchive(t.Context(), io.Discard, newImage("v1"), opts)
		if err != nil || inDir != inArchive {
			t.Errorf("%s: directory %s, archive %s, %v", c, inDir, inArchive, err)
		}
	}
}

func TestLayoutTakesSeveralImages(t *testing.T) {
	out := t.TempDir() // an empty directory will do
	write := func(tag, refName string) digest.Digest {
		t.Helper()
		d, err := ocilayout.WriteDir(t.Context(), newImage(tag), out, ocilayout.Options{RefName: refName})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	one, two := write("one", ""), write("two", "")
	wantRefs(t, out, "one", one, "two", two)

	// Fields and images that others have added stay, in their order.
	index := string(mustRead(t, out+"/index.json"))
	foreign := `{"mediaType": "application/vnd.example+json", "digest": "sha256:` + strings.Repeat("0", 64) + `", "size": 7, "x-any": [1.5, {"z": 1, "a": null}]}`
	index = strings.Replace(index, `"manifests": [`, `"x-top": {"q": "ü"}, "manifests": [`+foreign+",", 1)
	mustWrite(t, out+"/index.json", []byte(index))

	three := write("three", "one") // takes the name of the first
	write("two", "")               // and the same again changes nothing
	wantRefs(t, out, "", digest.Digest("sha256:"+strings.Repeat("0", 64)), "one", three, "two", two)
	var got struct {
		Top       map[string]string `json:"x-top"`
		Manifests []struct {
			Any json.RawMessage `json:"x-any"`
		}
	}
	unmarshal(t, mustRead(t, out+"/index.json"), &got)
	var compact bytes.Buffer
	if err := json.Compact(&compact, got.Manifests[0].Any); err != nil || got.Top["q"] != "ü" || compact.String() != `[1.5,{"z":1,"a":null}]` {
		t.Errorf("fields of others are gone: %s", mustRead(t, out+"/index.json"))
	}
	blob(t, out, one) // its blobs stay
}

// wantRefs compares the names and digests in an index.json.
func wantRefs(t *testing.T, dir string, want ...any) {
	t.Helper()
	var index v1.Index
	unmarshal(t, mustRead(t, dir+"/index.json"), &index)
	var got []any
	for _, m := range index.Manifests {
		got = append(got, m.Annotations[v1.AnnotationRefName], m.Digest)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("index.json has %v, want %v", got, want)
	}
}

func TestWritingMendsDamagedBlobs(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	if _, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	want := snapshot(t, out)
	for i, name := range ls(t, out+"/blobs/sha256") {
		path := out + "/blobs/sha256/" + name
		data := mustRead(t, path)
		data[len(data)/2] ^= 1
		mustWrite(t, path, data[:len(data)-i%2])
	}
	if _, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, out); got != want {
		t.Errorf("after a second write:\n%s\nwant\n%s", got, want)
	}
}

func TestTagComesFromImageID(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	img := newImage("")
	img.RepoTags = []string{"test"}
	names, err := img.Tagged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ocilayout.WriteDir(t.Context(), img, out, ocilayout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantRefs(t, out, strings.TrimPrefix(names.RepoTags[0], "test:"), d)
}

func TestFullNames(t *testing.T) {
	for repository, want := range map[string]string{
		"test":                  "docker.io/library/test:v1",
		"group/test":            "docker.io/group/test:v1",
		"localhost:5000/test":   "localhost:5000/test:v1",
		"ghcr.example/a/b/test": "ghcr.example/a/b/test:v1",
	} {
		t.Run(repository, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			img := newImage("v1")
			img.RepoTags = []string{repository + ":v1"}
			if _, err := ocilayout.WriteDir(t.Context(), img, out, ocilayout.Options{}); err != nil {
				t.Fatal(err)
			}
			var index v1.Index
			unmarshal(t, mustRead(t, out+"/index.json"), &index)
			if got := index.Manifests[0].Annotations["io.containerd.image.name"]; got != want {
				t.Errorf("%s: %q, want %q", repository, got, want)
			}
		})
	}
}

func TestObserve(t *testing.T) {
	img := newImage("v1")
	seen := map[string]int{}
	_, err := ocilayout.WriteArchive(t.Context(), io.Discard, img, ocilayout.Options{Observe: func(e image.Event) {
		seen[fmt.Sprintf("%d/%d %v", e.Layer, e.Layers, e.Done)]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 6 || seen["1/3 false"] != 1 || seen["3/3 true"] != 1 {
		t.Errorf("events %v; want the start and the end of each of 3 layers", seen)
	}
}
