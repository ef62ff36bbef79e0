package ocilayout_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/hostile"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/layer"
)

// TestReadBack reads what was written, in each possible form.
func TestReadBack(t *testing.T) {
	for _, c := range compressions {
		for _, form := range []string{"directory", "archive", "archive.gz", "archive.zst"} {
			t.Run(c+" "+form, func(t *testing.T) {
				steady(t)
				temp := t.TempDir()
				path := filepath.Join(t.TempDir(), "out")
				d := writeForm(t, path, form, ocilayout.Options{Compression: parse(t, c)})
				l, err := ocilayout.Open(t.Context(), path, temp)
				if err != nil {
					t.Fatal(err)
				}
				wantImage(t, l, d)
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if left := ls(t, temp); left != nil {
					t.Errorf("left in the temporary directory: %q", left)
				}
			})
		}
	}
}

func writeForm(t *testing.T, path, form string, opts ocilayout.Options) digest.Digest {
	t.Helper()
	if form == "directory" {
		d, err := ocilayout.WriteDir(t.Context(), newImage("v1"), path, opts)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	c := map[string]string{"archive": "none", "archive.gz": "gz", "archive.zst": "zstd"}[form]
	var out bytes.Buffer
	w, err := parse(t, c).NewWriter(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ocilayout.WriteArchive(t.Context(), w, newImage("v1"), opts)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, path, out.Bytes())
	return d
}

func wantImage(t *testing.T, l *ocilayout.Layout, d digest.Digest) {
	t.Helper()
	list := l.List()
	if len(list) != 1 || !slices.Equal(list[0].Names, []string{"docker.io/library/test:v1", "v1"}) || list[0].Descriptor.Digest != d {
		t.Fatalf("list %+v", list)
	}
	img, err := l.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	source := newImage("v1")
	config, err := source.RawConfig(t.Context())
	if err != nil || !bytes.Equal(img.ConfigJSON, config) || digest.FromBytes(img.Manifest) != d || len(img.Layers()) != 3 {
		t.Fatalf("image %+v (%v)", img, err)
	}
	for i, l := range img.StoredLayers() {
		data, err := readLayer(l)
		if err != nil || !bytes.Equal(data, tarOf(t, source.Layers()[i])) {
			t.Errorf("layer %d: %d bytes, %v", i, len(data), err)
		}
	}
	r, err := img.StoredLayers()[0].Open(t.Context()) // closed before its end
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func readLayer(l image.StoredLayer) ([]byte, error) {
	r, err := l.Open(context.Background())
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

// readAll reads everything that a layout has.
func readAll(ctx context.Context, path string) error {
	l, err := ocilayout.Open(ctx, path, "")
	if err != nil {
		return err
	}
	defer l.Close()
	for i := range l.List() {
		img, err := l.Open(ctx, i)
		if err != nil {
			return err
		}
		for _, l := range img.StoredLayers() {
			if _, err := readLayer(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// layout is a layout that a test may damage.
type layout struct {
	dir      string
	manifest v1.Manifest
	index    string // index.json
}

func (l layout) blob(d digest.Digest) string { return l.dir + "/blobs/sha256/" + d.Encoded() }

// setIndex replaces text in index.json.
func (l layout) setIndex(t *testing.T, old, new string) {
	t.Helper()
	if !strings.Contains(l.index, old) {
		t.Fatalf("index.json has no %q", old)
	}
	mustWrite(t, l.dir+"/index.json", []byte(strings.ReplaceAll(l.index, old, new)))
}

// setManifest replaces text in the manifest and puts the new one in the index.
func (l layout) setManifest(t *testing.T, old, new string) {
	t.Helper()
	var index v1.Index
	unmarshal(t, []byte(l.index), &index)
	desc := index.Manifests[0]
	data := string(mustRead(t, l.blob(desc.Digest)))
	if !strings.Contains(data, old) {
		t.Fatalf("the manifest has no %q", old)
	}
	l.setBlob(t, desc, []byte(strings.ReplaceAll(data, old, new)))
}

// setBlob replaces the first manifest by a manifest or an index.
func (l layout) setBlob(t *testing.T, desc v1.Descriptor, data []byte) {
	t.Helper()
	d := digest.FromBytes(data)
	mustWrite(t, l.blob(d), data)
	text := strings.ReplaceAll(l.index, desc.Digest.String(), d.String())
	text = strings.ReplaceAll(text, fmt.Sprintf(`"size": %d`, desc.Size), fmt.Sprintf(`"size": %d`, len(data)))
	mustWrite(t, l.dir+"/index.json", []byte(text))
}

func newLayout(t *testing.T) layout {
	t.Helper()
	l := layout{dir: filepath.Join(t.TempDir(), "out")}
	d, err := ocilayout.WriteDir(t.Context(), newImage("v1"), l.dir, ocilayout.Options{})
	if err != nil {
		t.Fatal(err)
	}
	unmarshal(t, blob(t, l.dir, d), &l.manifest)
	l.index = string(mustRead(t, l.dir+"/index.json"))
	return l
}

func TestReadRefuses(t *testing.T) {
	flip := func(t *testing.T, path string) {
		data := mustRead(t, path)
		data[len(data)/2] ^= 1
		mustWrite(t, path, data)
	}
	replace := func(t *testing.T, path string, with func(*testing.T, string)) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		with(t, path)
	}
	layer1 := func(l layout) string { return l.blob(l.manifest.Layers[1].Digest) }
	for name, test := range map[string]struct {
		spoil func(t *testing.T, l layout)
		want  string
	}{
		"no oci-layout":   {func(t *testing.T, l layout) { replace(t, l.dir+"/oci-layout", func(*testing.T, string) {}) }, "not an OCI layout"},
		"another version": {func(t *testing.T, l layout) { mustWrite(t, l.dir+"/oci-layout", []byte(`{"imageLayoutVersion":"9"}`)) }, `"9"`},
		"version by another case": {func(t *testing.T, l layout) {
			mustWrite(t, l.dir+"/oci-layout", []byte(`{"ImageLayoutVersion":"1.0.0"}`))
		}, `"ImageLayoutVersion"`},
		"no index.json":           {func(t *testing.T, l layout) { replace(t, l.dir+"/index.json", func(*testing.T, string) {}) }, "index.json"},
		"index.json too large":    {func(t *testing.T, l layout) { mustWrite(t, l.dir+"/index.json", make([]byte, 9<<20)) }, "bytes, more than"},
		"index.json a FIFO":       {func(t *testing.T, l layout) { replace(t, l.dir+"/index.json", mkfifo) }, "not a regular file"},
		"digest leads out":        {func(t *testing.T, l layout) { l.setIndex(t, `"digest": "sha256:`, `"digest": "sha256:../../`) }, "digest"},
		"digest in upper case":    {func(t *testing.T, l layout) { upper(t, l) }, "digest"},
		"digest too short":        {func(t *testing.T, l layout) { l.setIndex(t, `"digest": "sha256:`, `"digest": "sha256:abc", "x": "`) }, "digest"},
		"unknown algorithm":       {func(t *testing.T, l layout) { l.setIndex(t, `"sha256:`, `"md5:`) }, "digest"},
		"size negative":           {func(t *testing.T, l layout) { l.setIndex(t, `"size": `, `"size": -`) }, "size is -"},
		"size enormous":           {func(t *testing.T, l layout) { l.setIndex(t, `"size": `, `"size": 9223372036854775807, "x": `) }, "9223372036854775807"},
		"size beyond numbers":     {func(t *testing.T, l layout) { l.setIndex(t, `"size": `, `"size": 9223372036854775808, "x": `) }, "size is 9223372036854775808"},
		"size a fraction":         {func(t *testing.T, l layout) { l.setIndex(t, `"size": `, `"size": 1.5, "x": `) }, "size is 1.5"},
		"size of the layer wrong": {func(t *testing.T, l layout) { l.setManifest(t, sizeOf(l, 1), sizeOf(l, 1)+"0") }, "are expected"},
		"manifests and layers":    {func(t *testing.T, l layout) { l.setIndex(t, `"manifests"`, `"layers": [], "manifests"`) }, `"layers"`},
		"Manifests beside it":     {func(t *testing.T, l layout) { l.setIndex(t, `"manifests"`, `"Manifests": [], "manifests"`) }, `"Manifests"`},
		"manifests twice":         {func(t *testing.T, l layout) { l.setIndex(t, `"manifests"`, `"manifests": [], "manifests"`) }, "twice"},
		"manifest with manifests": {func(t *testing.T, l layout) { l.setManifest(t, `"layers"`, `"manifests": [], "layers"`) }, `"manifests"`},
		"manifest with Layers":    {func(t *testing.T, l layout) { l.setManifest(t, `"layers"`, `"Layers": [], "layers"`) }, `"Layers"`},
		"manifest of schema 1":    {func(t *testing.T, l layout) { l.setManifest(t, `"schemaVersion": 2`, `"schemaVersion": 1`) }, "schema 1"},
		"media type contradicts":  {func(t *testing.T, l layout) { l.setManifest(t, "image.manifest.v1", "image.index.v1") }, "mediaType"},
		"data is not the blob":    {func(t *testing.T, l layout) { l.setIndex(t, `"platform"`, `"data": "eA==", "platform"`) }, "data"},
		"manifest flipped":        {func(t *testing.T, l layout) { flipManifest(t, l, flip) }, "digest is"},
		"config flipped":          {func(t *testing.T, l layout) { flip(t, l.blob(l.manifest.Config.Digest)) }, "digest is"},
		"layer flipped":           {func(t *testing.T, l layout) { flip(t, layer1(l)) }, `layer "sha256:`},
		"layer longer":            {func(t *testing.T, l layout) { mustWrite(t, layer1(l), append(mustRead(t, layer1(l)), 0)) }, "are expected"},
		"layer shorter":           {func(t *testing.T, l layout) { mustWrite(t, layer1(l), mustRead(t, layer1(l))[:99]) }, "are expected"},
		"layer missing":           {func(t *testing.T, l layout) { replace(t, layer1(l), func(*testing.T, string) {}) }, "no such file"},
		"layer a symlink": {func(t *testing.T, l layout) {
			replace(t, layer1(l), func(t *testing.T, p string) { symlink(t, l.dir+"/index.json", p) })
		}, "not a regular file"},
		"layer a FIFO":             {func(t *testing.T, l layout) { replace(t, layer1(l), mkfifo) }, "not a regular file"},
		"another layer's bytes":    {func(t *testing.T, l layout) { swap(t, l) }, "expected sha256:"},
		"blobs lead out":           {func(t *testing.T, l layout) { moveBlobs(t, l) }, "escapes"},
		"fewer layers than config": {func(t *testing.T, l layout) { l.setManifest(t, `"layers": [`, `"layers": [], "x": [`) }, "diff_ids"},
	} {
		t.Run(name, func(t *testing.T) {
			steady(t)
			l := newLayout(t)
			test.spoil(t, l)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := readAll(ctx, l.dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v; want one with %q", err, test.want)
			}
		})
	}
}

func sizeOf(l layout, i int) string { return fmt.Sprintf(`"size": %d`, l.manifest.Layers[i].Size) }

func upper(t *testing.T, l layout) {
	var index v1.Index
	unmarshal(t, []byte(l.index), &index)
	hex := index.Manifests[0].Digest.Encoded()
	l.setIndex(t, hex, strings.ToUpper(hex))
}

func flipManifest(t *testing.T, l layout, flip func(*testing.T, string)) {
	var index v1.Index
	unmarshal(t, []byte(l.index), &index)
	flip(t, l.blob(index.Manifests[0].Digest))
}

// swap makes the manifest list a layer that is sound, but not the config's.
func swap(t *testing.T, l layout) {
	a, b := l.manifest.Layers[0], l.manifest.Layers[1]
	l.setManifest(t, fmt.Sprintf("%q,\n            \"size\": %d", b.Digest, b.Size), fmt.Sprintf("%q,\n            \"size\": %d", a.Digest, a.Size))
}

func moveBlobs(t *testing.T, l layout) {
	elsewhere := filepath.Join(filepath.Dir(l.dir), "elsewhere")
	if err := os.Rename(l.dir+"/blobs", elsewhere); err != nil {
		t.Fatal(err)
	}
	symlink(t, "../elsewhere", l.dir+"/blobs")
}

// TestTypedDigestErrors: a caller can distinguish damage from other failures.
func TestTypedDigestErrors(t *testing.T) {
	for _, c := range compressions {
		out := filepath.Join(t.TempDir(), "out")
		d, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, ocilayout.Options{Compression: parse(t, c)})
		if err != nil {
			t.Fatal(err)
		}
		var manifest v1.Manifest
		unmarshal(t, blob(t, out, d), &manifest)
		path := out + "/blobs/sha256/" + manifest.Layers[1].Digest.Encoded()
		data := mustRead(t, path)
		// Damage that the decompressor does not see: gzip's own time.
		at := map[string]int{"none": 600, "gz": 4, "zstd": len(data) - 1}[c]
		data[at] ^= 1
		mustWrite(t, path, data)
		err = readAll(t.Context(), out)
		if digestErr := (*layer.DigestError)(nil); c != "zstd" && !errors.As(err, &digestErr) || err == nil {
			t.Errorf("%s: %v is not a DigestError", c, err)
		}
	}
}

func TestNestedIndexes(t *testing.T) {
	l := newLayout(t)
	var index v1.Index
	unmarshal(t, []byte(l.index), &index)
	desc := index.Manifests[0]
	nested := func(inner v1.Descriptor) v1.Descriptor {
		attestation := inner
		attestation.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		data, err := json.Marshal(v1.Index{
			Versioned: index.Versioned, MediaType: v1.MediaTypeImageIndex,
			Manifests: []v1.Descriptor{inner, attestation},
		})
		if err != nil {
			t.Fatal(err)
		}
		d := digest.FromBytes(data)
		mustWrite(t, l.blob(d), data)
		return v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: d, Size: int64(len(data))}
	}
	inner := desc
	for depth := 1; depth <= 5; depth++ {
		inner = nested(inner)
		top := inner
		top.Annotations = desc.Annotations
		data, err := json.Marshal(v1.Index{Versioned: index.Versioned, Manifests: []v1.Descriptor{top}})
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, l.dir+"/index.json", data)
		layout, err := ocilayout.Open(t.Context(), l.dir, "")
		if depth > 4 {
			if err == nil {
				t.Errorf("depth %d: no error", depth)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if list := layout.List(); len(list) != 1 || list[0].Index == "" || !slices.Contains(list[0].Names, "v1") || list[0].Descriptor.Digest != desc.Digest {
			t.Errorf("depth %d: %+v", depth, list)
		}
		if err := layout.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestArchiveRefuses(t *testing.T) {
	var good bytes.Buffer
	if _, err := ocilayout.WriteArchive(t.Context(), &good, newImage("v1"), ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	tarWith := func(headers ...*tar.Header) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, h := range headers {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, strings.Repeat(" ", int(h.Size))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty":              {nil, "is empty"},
		"garbage":            {[]byte(strings.Repeat("garbage", 1000)), "read tar"},
		"cut":                {good.Bytes()[:good.Len()/2], "EOF"},
		"a member twice":     {tarWith(&tar.Header{Name: "oci-layout", Size: 1}, &tar.Header{Name: "./oci-layout", Size: 1}), `"oci-layout"`},
		"a symlink":          {tarWith(&tar.Header{Name: "oci-layout", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "leads out of the archive"},
		"too large":          {tarWith(&tar.Header{Name: "oci-layout", Size: 9 << 20}), "bytes, more than"},
		"cut, but gzip ends": {gzipped(t, good.Bytes()[:good.Len()/2]), "EOF"},
		"gzip cut":           {gzipped(t, good.Bytes())[:1000], "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			steady(t)
			path := filepath.Join(t.TempDir(), "a.tar")
			mustWrite(t, path, test.data)
			if err := readAll(t.Context(), path); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v; want one with %q", err, test.want)
			}
		})
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	mkfifo(t, fifo)
	if err := readAll(t.Context(), fifo); err == nil {
		t.Error("a FIFO is read")
	}
	if err := readAll(t.Context(), filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func gzipped(t *testing.T, data []byte) []byte {
	var out bytes.Buffer
	w, err := compress.Compression{}.NewWriter(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzArchive: whatever the bytes, reading ends, and with an error unless
// every digest is right.
func FuzzArchive(f *testing.F) {
	for _, c := range []string{"none", "gz"} {
		var out bytes.Buffer
		if _, err := ocilayout.WriteArchive(f.Context(), &out, newImage("v1", newLayer(file("a", "a"))), ocilayout.Options{Compression: parse(f, c)}); err != nil {
			f.Fatal(err)
		}
		f.Add(out.Bytes())
	}
	for _, c := range hostile.LayoutCases() {
		if data := hostile.Tar(c.Files...); len(data) <= 20<<10 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.tar")
		if compress.Detect(data[:min(4, len(data))]) == compress.None {
			data = hostile.Sums(data)
		}
		mustWrite(t, path, data)
		if readAll(t.Context(), path) != nil {
			return
		}
		l, err := ocilayout.Open(t.Context(), path, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for i, found := range l.List() {
			img, err := l.Open(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			if d := digest.FromBytes(img.Manifest); d.Algorithm() == img.ManifestDescriptor.Digest.Algorithm() && d != img.ManifestDescriptor.Digest {
				t.Errorf("image %d of %+v has the manifest %s", i, found, d)
			}
			for k, layer := range img.StoredLayers() {
				if data, err := readLayer(layer); err != nil || digest.FromBytes(data) != img.DiffIDs[k] {
					t.Errorf("layer %d of image %d is not %s (%v)", k, i, img.DiffIDs[k], err)
				}
			}
		}
	})
}
