package registry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// imageOf returns an image of one file, larger than an upload's chunk.
func imageOf(architecture string) image.Named {
	content := make([]byte, 10<<20)
	state := uint64(len(architecture))
	for i := range content {
		state = state*6364136223846793005 + 1442695040888963407
		content[i] = byte(state >> 56)
	}
	seq := func(yield func(*tree.Entry, error) bool) {
		yield(&tree.Entry{
			Path: "data", Type: tree.Regular, Mode: 0o644, ModTime: 1, Size: int64(len(content)),
			Content: tree.OpenFunc(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }),
		}, nil)
	}
	l := layer.New(func() tree.Seq { return seq }, layer.Options{Dialect: layer.GNU, Prefix: "./", Title: "data"})
	img := image.New(image.Description{
		Layers: []image.Layer{l, l}, History: make([]image.History, 2),
		Created: "1970-01-01T00:00:01Z", Architecture: architecture, OS: "linux",
		Config: &ordjson.Object{},
	})
	return image.Named{Image: img, Names: image.Names{RepoTags: []string{"app:1"}}}
}

func options(host string) registry.Options { return registry.Options{InsecureHosts: []string{host}} }

// skopeo runs skopeo and fails unless it succeeds.
func skopeo(t *testing.T, args ...string) string {
	t.Helper()
	result := enginetest.Skopeo(t, args...)
	if result.ExitCode != 0 {
		t.Fatalf("skopeo %q: %s", args, result.Stderr)
	}
	return result.Stdout
}

// diffIDs opens an image, reads its layers and returns their digests.
func diffIDs(t *testing.T, ref string, opts registry.Options) []digest.Digest {
	t.Helper()
	img, err := registry.Open(t.Context(), ref, opts)
	if err != nil {
		t.Fatal(err)
	}
	var ids []digest.Digest
	for _, l := range img.Layers() {
		info, err := l.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, info.DiffID)
	}
	return ids
}

// TestDockerRegistry: skopeo reads from Docker's registry what was pushed, and
// what it pushes is read; a second push sends nothing that changes anything.
func TestDockerRegistry(t *testing.T) {
	host := enginetest.Registry(t)
	img := imageOf("amd64")
	info, err := img.Layers()[0].Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []digest.Digest{info.DiffID, info.DiffID}
	for _, compression := range []string{"none", "gz", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			c, err := compress.Parse(compression)
			if err != nil {
				t.Fatal(err)
			}
			ref := host + "/some/app:" + compression
			opts := registry.PushOptions{Options: options(host), Compression: c}
			pushed, err := registry.Push(t.Context(), ref, img, opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := diffIDs(t, ref, opts.Options); !slices.Equal(got, want) {
				t.Errorf("read again: %v, want %v", got, want)
			}
			layout := filepath.Join(t.TempDir(), "layout")
			skopeo(t, "copy", "--preserve-digests", "--src-tls-verify=false", "docker://"+ref, "oci:"+layout+":x")
			if raw, err := os.ReadFile(filepath.Join(layout, "blobs/sha256", pushed.Digest.Encoded())); err != nil {
				t.Errorf("skopeo has not copied the manifest %s as it is: %v\n%s", pushed.Digest, err, raw)
			}
			skopeo(t, "copy", "--preserve-digests", "--dest-tls-verify=false", "oci:"+layout+":x", "docker://"+host+"/copied:"+compression)
			if got := diffIDs(t, host+"/copied:"+compression, opts.Options); !slices.Equal(got, want) {
				t.Errorf("skopeo's: %v, want %v", got, want)
			}
			stored, err := registry.Open(t.Context(), host+"/copied:"+compression, opts.Options)
			if err != nil {
				t.Fatal(err)
			}
			again, err := registry.Push(t.Context(), host+"/mounted:"+compression, stored,
				registry.PushOptions{Options: opts.Options, MountFrom: []string{"copied"}})
			if err != nil || again.Digest != pushed.Digest {
				t.Errorf("mounted: %+v, %v", again, err)
			}
		})
	}
}

// TestDockerRegistryIndex: skopeo reads the platforms of an index, and a nested
// index that it copied is read.
func TestDockerRegistryIndex(t *testing.T) {
	host := enginetest.Registry(t)
	opts := options(host)
	var manifests []v1.Descriptor
	for _, architecture := range []string{"amd64", "arm64"} {
		d, err := registry.Push(t.Context(), host+"/app:"+architecture, imageOf(architecture), registry.PushOptions{Options: opts})
		if err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, d)
	}
	inner, err := registry.PushManifests(t.Context(), host+"/app:all", manifests, nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	out := skopeo(t, "inspect", "--tls-verify=false", "--override-arch", "arm64", "--config", "docker://"+host+"/app:all")
	var config v1.Image
	if err := json.Unmarshal([]byte(out), &config); err != nil || config.Architecture != "arm64" {
		t.Errorf("skopeo's config of arm64: %v\n%s", err, out)
	}
	raw := skopeo(t, "inspect", "--tls-verify=false", "--raw", "docker://"+host+"/app:all")
	if digest.FromString(raw) != inner.Digest {
		t.Errorf("skopeo's raw index is\n%s", raw)
	}
	skopeo(t, "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+host+"/app:all", "docker://"+host+"/by-skopeo:all")
	inner.Platform = &v1.Platform{OS: "linux", Architecture: "several"}
	outer, err := registry.PushManifests(t.Context(), host+"/by-skopeo:nested", []v1.Descriptor{inner}, nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	nested, err := registry.Resolve(t.Context(), host+"/by-skopeo:nested", opts)
	if err != nil || len(nested.Manifests) != 2 || nested.Manifests[1].Digest != manifests[1].Digest {
		t.Fatalf("resolved %+v, %v", nested, err)
	}
	copied, err := registry.Copy(t.Context(), nested, host+"/copied:nested", registry.PushOptions{Options: opts})
	if err != nil || copied.Digest != outer.Digest {
		t.Errorf("copied %+v, %v", copied, err)
	}
	opts.Platform = v1.Platform{OS: "linux", Architecture: "arm64"}
	if got := diffIDs(t, host+"/copied:nested", opts); len(got) != 2 {
		t.Errorf("layers %v", got)
	}
}

// TestLayoutToRegistry: an image in a layout is copied to a registry as it is.
func TestLayoutToRegistry(t *testing.T) {
	host := enginetest.Registry(t)
	path := filepath.Join(t.TempDir(), "layout")
	if _, err := ocilayout.WriteDir(t.Context(), imageOf("amd64"), path, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	layout, err := ocilayout.Open(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer layout.Close()
	stored, err := layout.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ref := host + "/from/layout:1"
	if _, err := registry.Push(t.Context(), ref, stored, registry.PushOptions{Options: options(host)}); err != nil {
		t.Fatal(err)
	}
	got, err := registry.Open(t.Context(), ref, options(host))
	if err != nil || !bytes.Equal(got.Manifest, stored.Manifest) {
		t.Errorf("manifest changed, or %v", err)
	}
	_, err = registry.Open(t.Context(), strings.Replace(ref, ":1", ":2", 1), options(host))
	if err == nil || !strings.Contains(err.Error(), "MANIFEST_UNKNOWN") {
		t.Errorf("no such tag: %v", err)
	}
}
