package dockerarchive

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// fileLayer is a layer of one file.
func fileLayer(name, content string) *layer.Layer {
	return layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			yield(&tree.Entry{
				Path: name, Type: tree.Regular, Mode: 0o644, Size: int64(len(content)),
				Content: tree.OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }),
			}, nil)
		}
	}, layer.Options{Title: name})
}

// rawConfig is a config whose layout and fields are not varve's.
func rawConfig(t *testing.T, layers []image.Layer) []byte {
	t.Helper()
	var ids []string
	for _, l := range layers {
		info, err := l.Info(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, fmt.Sprintf("%q", info.DiffID))
	}
	return fmt.Appendf(nil, "{ \"os\":\"linux\",\n\t\"architecture\": \"arm64\", \"variant\": \"v8\", \"docker_version\": \"20.10\",\n"+
		` "container": null, "container_config": {"z": 1.50, "a": [ 1e3, "<é\u00e9&>`+"\u2028"+`\/" ]},`+"\n"+
		` "config": {"Env": [ "A=<b>" ], "b": 1, "a": {} }, "created": "2020-01-02T03:04:05.678Z",`+"\n"+
		` "history": [], "rootfs": {"type": "layers", "diff_ids": [%s]}}`+"\n", strings.Join(ids, ", "))
}

// withConfig is an image with another config.
type withConfig struct {
	image.Image
	config []byte
}

func (w withConfig) RawConfig(context.Context) ([]byte, error) { return w.config, nil }

// skopeoCases are images with the digests of the archives that skopeo 1.9.3
// makes of them, with the name example/app:1 by default.
func skopeoCases(t *testing.T) map[string]struct {
	img  image.Named
	want digest.Digest
} {
	a, b := fileLayer("a", "one"), fileLayer("b", strings.Repeat("two", 5000))
	makeImage := func(layers ...image.Layer) image.Named {
		config := &ordjson.Object{}
		config.Set("Cmd", []any{"/a", "<é>"})
		img := image.New(image.Description{
			Layers: layers, History: make([]image.History, len(layers)), Config: config,
			Created: "1970-01-01T00:00:01+00:00", Architecture: "amd64", OS: "linux", ModTime: 1,
		})
		return image.Named{Image: img, Names: image.Names{RepoTags: []string{"example/app:1"}}}
	}
	raw := makeImage(a, b)
	raw.Image = withConfig{raw.Image, rawConfig(t, raw.Layers())}
	named := makeImage(a)
	named.RepoTags = []string{"registry.example.org:5000/deep/er/app:v1.2_3-x"}
	short := makeImage(a)
	short.RepoTags = []string{"app:1"}
	return map[string]struct {
		img  image.Named
		want digest.Digest
	}{
		"no layer":       {makeImage(), "sha256:72c59778531e66b8b4bd3a669f69a8f237d6261b7cb2115b77d4574f81a30b9d"},
		"one layer":      {makeImage(a), "sha256:e685c48ded7c1b39156ec7e5d1e619d60bd6d313743422febcd46b22a624f5c2"},
		"three layers":   {makeImage(b, a, fileLayer("c", "")), "sha256:6b83941c8f6c719eb8998a39fe273f3750541335dd3b9e4ebf5fa43df84f61ac"},
		"repeated layer": {makeImage(a, b, a, a), "sha256:f0e249fdbe9869b1749251b9e2f097479a9e9853825b699cfcb8d802a9973e35"},
		"raw config":     {raw, "sha256:3a01fe8ab183cdd431c2ca82b199320270a9efdb8f2cf2b8932f541e5f259b57"},
		"registry":       {named, "sha256:51052243a878720418c7f9ea1fe5a67df1c179d30a15d8be2022bcd595742b79"},
		"short name":     {short, "sha256:9746d80784ddd337e8a4f8e97d45eedef501b49ca8f06586c746cb0dd2301e25"},
	}
}

func writeSkopeo(t *testing.T, img image.Named) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := WriteSkopeo(t.Context(), &out, img, Options{TempDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWriteSkopeo(t *testing.T) {
	for name, tt := range skopeoCases(t) {
		if got := digest.FromBytes(writeSkopeo(t, tt.img)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestSkopeoWritesTheSame has skopeo copy the same images out of OCI layouts.
func TestSkopeoWritesTheSame(t *testing.T) {
	testtools.Need(t, "skopeo")
	for name, tt := range skopeoCases(t) {
		for _, algorithm := range []compress.Algorithm{compress.Gzip, compress.None} {
			layout := filepath.Join(t.TempDir(), "layout")
			writeLayout(t, tt.img, layout, algorithm)
			want := skopeoArchive(t, "oci:"+layout+":x", tt.img)
			if got := writeSkopeo(t, tt.img); !bytes.Equal(got, want) {
				t.Errorf("%s, %s: %s, skopeo writes %s", name, algorithm, digest.FromBytes(got), digest.FromBytes(want))
			}
			// A layer that is stored elsewhere, compressed, gives the same.
			if got := writeSkopeo(t, readLayout(t, layout, tt.img)); !bytes.Equal(got, want) {
				t.Errorf("%s, %s, read from a layout: %s, skopeo writes %s", name, algorithm, digest.FromBytes(got), digest.FromBytes(want))
			}
		}
	}
}

func writeLayout(t *testing.T, img image.Named, dir string, algorithm compress.Algorithm) {
	t.Helper()
	opts := ocilayout.Options{RefName: "x", Compression: compress.Compression{Algorithm: algorithm}}
	if _, err := ocilayout.WriteDir(t.Context(), img, dir, opts); err != nil {
		t.Fatal(err)
	}
}

// readLayout reads the image in a layout, which gets the name of img.
func readLayout(t *testing.T, dir string, img image.Named) image.Named {
	t.Helper()
	l, err := ocilayout.Open(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if n := len(l.List()); n != 1 {
		t.Fatalf("%d images", n)
	}
	stored, err := l.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return image.Named{Image: stored, Names: img.Names}
}

func skopeoArchive(t *testing.T, source string, img image.Named) []byte {
	t.Helper()
	names, err := img.Tagged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.tar")
	skopeo := exec.Command("skopeo", "--insecure-policy", "--tmpdir", t.TempDir(), "copy", "-q", source, "docker-archive:"+file+":"+names.RepoTags[0])
	if out, err := skopeo.CombinedOutput(); err != nil {
		t.Fatalf("skopeo: %v\n%s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSkopeoZstd: zstd layers, of which skopeo 1.9.3 cannot make an archive,
// give the archive that it makes of the same image with gzip.
func TestSkopeoZstd(t *testing.T) {
	tt := skopeoCases(t)["three layers"]
	layout := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, tt.img, layout, compress.Zstd)
	if got := digest.FromBytes(writeSkopeo(t, readLayout(t, layout, tt.img))); got != tt.want {
		t.Errorf("%s, want %s", got, tt.want)
	}
}

// TestSkopeoUmoci: an image made by umoci, with Go's own gzip.
func TestSkopeoUmoci(t *testing.T) {
	testtools.Need(t, "skopeo")
	umoci := testtools.Need(t, "umoci")
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	payload := filepath.Join(dir, "payload")
	if err := os.WriteFile(payload, bytes.Repeat([]byte("payload"), 100_000), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "--layout", layout},
		{"new", "--image", layout + ":x"},
		{"insert", "--rootless", "--image", layout + ":x", filepath.Join(dir, "root"), "/root"},
		{"insert", "--rootless", "--image", layout + ":x", payload, "/bin/payload"},
		{"config", "--image", layout + ":x", "--config.env", "A=<é>", "--config.label", "a=b & c"},
	} {
		if out, err := exec.Command(umoci, args...).CombinedOutput(); err != nil {
			t.Fatalf("umoci %q: %v\n%s", args, err, out)
		}
	}
	img := readLayout(t, layout, image.Named{Names: image.Names{RepoTags: []string{"example/app:1"}}})
	if len(img.Layers()) != 2 {
		t.Fatalf("%d layers", len(img.Layers()))
	}
	got, want := writeSkopeo(t, img), skopeoArchive(t, "oci:"+layout+":x", img)
	if !bytes.Equal(got, want) {
		t.Errorf("%s, skopeo writes %s", digest.FromBytes(got), digest.FromBytes(want))
	}
}

// TestSkopeoIsRead: the archive is one that Open reads.
func TestSkopeoIsRead(t *testing.T) {
	tt := skopeoCases(t)["repeated layer"]
	got, err := readAll(t, writeSkopeo(t, tt.img))
	if err != nil || len(got) != 4 || got[0] != got[2] || got[0] == got[1] {
		t.Errorf("%d layers, %v", len(got), err)
	}
}

// TestUstar: the headers are those of archive/tar, which skopeo uses, for
// layers of 8 GiB too.
func TestUstar(t *testing.T) {
	for _, size := range []int64{0, 1, 512, maxOctal - 1, maxOctal, 10_000_000_000_000} {
		for _, name := range []string{"manifest.json", strings.Repeat("a", 64) + ".tar", strings.Repeat("b", 64) + "/json"} {
			var got, want bytes.Buffer
			if err := (ustar{&got}).header(name, '0', "", 0o444, size); err != nil {
				t.Fatal(err)
			}
			h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o444, Size: size, ModTime: time.Unix(0, 0)}
			if err := tar.NewWriter(&want).WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%s of %d bytes:\n%q\nwant\n%q", name, size, got.Bytes(), want.Bytes())
			}
		}
	}
}

// TestSpoolLeavesNothing: a layer with another digest is an error, and no
// temporary file stays.
func TestSpoolLeavesNothing(t *testing.T) {
	tt := skopeoCases(t)["three layers"]
	layout := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, tt.img, layout, compress.Gzip)
	img := readLayout(t, layout, tt.img)
	stored := img.Image.(*image.Stored)
	layers := slices.Clone(stored.StoredLayers())
	layers[2] = &layer.Blob{
		Name: "broken", Descriptor: layers[2].Stored(), DiffID: layers[2].TarDigest(), Fetch: layers[1].(*layer.Blob).Fetch,
	}
	broken, err := image.NewStored(stored.ConfigJSON, layers)
	if err != nil {
		t.Fatal(err)
	}
	img.Image = broken
	temp := t.TempDir()
	for name, write := range map[string]func(context.Context, io.Writer, image.Named, Options) error{"skopeo": WriteSkopeo, "docker": Write} {
		if err := write(t.Context(), io.Discard, img, Options{TempDir: temp}); err == nil || !strings.Contains(err.Error(), "bytes that are expected") {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := write(ctx, io.Discard, img, Options{TempDir: temp}); err == nil {
			t.Errorf("%s: a context that is done is not an error", name)
		}
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}
