package lockfile

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

func blob(mediaType, text string) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(text), Size: int64(len(text))}
}

// example is a file with an index of two platforms and a manifest alone.
func example(t testing.TB) (*File, map[string][]byte) {
	t.Helper()
	manifests := map[string][]byte{}
	image := func(name string) Manifest {
		data, err := ocijson.Manifest(blob(v1.MediaTypeImageConfig, "config "+name),
			[]v1.Descriptor{blob(v1.MediaTypeImageLayerGzip, "layer"), blob(v1.MediaTypeImageLayerZstd, "layer "+name)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		manifests[name] = data
		m, err := NewManifest(blob(v1.MediaTypeImageManifest, string(data)), data)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	index := NewImage(blob(v1.MediaTypeImageIndex, "index"))
	index.Platforms["linux/amd64"], index.Platforms["linux/arm/v7"] = image("amd64"), image("armv7")
	alone := image("alone")
	single := NewImage(alone.Descriptor)
	single.Platforms["linux/s390x"] = alone
	return &File{LayerFormat: 2, Images: map[string]Image{
		"docker.io/library/debian:12": index, "localhost:5000/a/b@" + alone.Descriptor.Digest.String(): single,
	}}, manifests
}

func TestRoundTrip(t *testing.T) {
	f, _ := example(t)
	data, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(data)
	if err != nil || !reflect.DeepEqual(again, f) {
		t.Fatalf("read again: %v, %v\n%s", again, err, data)
	}
	if !strings.HasPrefix(string(data), "{\n    \"version\": 2,\n    \"layerFormat\": 2,\n    \"images\": {\n        \"docker.io/library/debian:12\": {\n") || !strings.HasSuffix(string(data), "}\n") {
		t.Errorf("it is written as\n%s", data)
	}
	empty, err := (&File{}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if f, err := Parse(empty); err != nil || len(f.Images) != 0 || strconv.Itoa(f.LayerFormat) != layer.FormatVersion {
		t.Errorf("an empty file: %v, %v", f, err)
	}
	// When version 1 was written, layers had no hard links.
	old := strings.Replace(strings.Replace(string(data), `"version": 2`, `"version": 1`, 1), "    \"layerFormat\": 2,\n", "", 1)
	f.LayerFormat = 1
	if again, err := Parse([]byte(old)); err != nil || !reflect.DeepEqual(again, f) {
		t.Errorf("version 1: %v, %v", again, err)
	}
}

// TestParseRefuses changes the example at one place after the other.
func TestParseRefuses(t *testing.T) {
	f, _ := example(t)
	data, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"version": 2`, `"version": 3`, "version: it is 3"},
		{`"layerFormat": 2`, `"layerFormat": 3`, "layerFormat: it is 3, and this varve knows versions 1 to 2"},
		{`"layerFormat": 2`, `"layerFormat": 0`, "layerFormat: it is 0"},
		{`"layerFormat": 2`, `"layerFormat": 2.0`, "layerFormat: it is 2.0"},
		{`"layerFormat": 2`, `"layerFormat": "2"`, `layerFormat: it is "2"`},
		{`"layerFormat": 2,`, ``, `field "layerFormat" is missing`},
		{`"version": 2`, `"version": 1`, `unknown field "layerFormat"`},
		{`"version": 2`, `"version": "1"`, `version: it is "1"`},
		{`"version": 2,`, ``, "version: it is not given"},
		{`"version": 2,`, `"version": 2, "more": 1,`, `unknown field "more"`},
		{`"version": 2,`, `"version": 2, "version": 2,`, "given twice"},
		{`"images"`, `"Images"`, `field "images" is missing`},
		{`docker.io/library/debian:12`, `debian:12`, `images."debian:12": it is not a full reference`},
		{`docker.io/library/debian:12`, `docker.io/library/debian`, "not a full reference"},
		{`docker.io/library/debian:12`, `A:b:c`, "not a full reference"},
		{`"linux/amd64"`, `"linux"`, `platform "linux"`},
		{`"linux/amd64"`, `"linux/amd64/v1/x"`, `platform "linux/amd64/v1/x"`},
		{digest.FromString("layer").String(), "sha256:../../x", `platforms."linux/amd64".layers[0]: digest "sha256:../../x"`},
		{digest.FromString("index").String(), "sha1:x", `debian:12": digest "sha1:x"`},
		{digest.FromString("index").String(), strings.ToUpper(digest.FromString("index").String()), "digest"},
		{`"size": 5`, `"size": -5`, "size is -5"},
		{`"size": 5`, `"size": 5.5`, "size is 5.5"},
		{`"size": 5`, `"Size": 5`, `unknown field "Size"`},
		{`"size": 5`, `"size": 5, "urls": []`, `unknown field "urls"`},
		{`"layers": [`, `"layers": [1, `, `layers[0]: expected an object`},
		{`"layers": [`, `"x": [`, `field "layers" is missing`},
		{`"config": {`, `"config": 1, "x": {`, "config: expected an object"},
		{v1.MediaTypeImageIndex, "text/plain", `"text/plain" is neither`},
		{v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, "a manifest has one platform, here are 2"},
		{`"platforms": {
                "linux/s390x": {`, `"platforms": {
                "linux/s390x": {"x": 1,`, `unknown field "x"`},
		{`"linux/s390x": {
                    "mediaType": "` + v1.MediaTypeImageManifest + `"`, `"linux/s390x": {
                    "mediaType": "text/plain"`, `"text/plain" is not a manifest's`},
	} {
		changed := strings.Replace(string(data), c.from, c.to, 1)
		if changed == string(data) {
			t.Fatalf("%q is not in\n%s", c.from, data)
		}
		if _, err := Parse([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: error %v, want one with %q", c.to, c.from, err, c.want)
		}
	}
	for in, want := range map[string]string{
		"": "unexpected EOF", "[]": "expected an object", `{"version": 1, "images": []}`: "images: expected",
		`{"version": 1, "images": {"docker.io/library/a:1": []}}`: "expected an object",
		strings.Repeat(" ", MaxSize+1):                            "larger than",
	} {
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.40q): error %v, want one with %q", in, err, want)
		}
	}
	// Everything that is wrong is reported at once.
	both := strings.NewReplacer(`"size": 5`, `"size": -5`, `"linux/amd64"`, `"x"`).Replace(string(data))
	if _, err := Parse([]byte(both)); err == nil || !strings.Contains(err.Error(), `platform "x"`) || !strings.Contains(err.Error(), "size is -5") {
		t.Errorf("two errors: %v", err)
	}
}

func TestChoose(t *testing.T) {
	f, _ := example(t)
	img := f.Images["docker.io/library/debian:12"]
	m, err := img.Choose(v1.Platform{OS: "linux", Architecture: "arm"})
	if err != nil || m.Descriptor.Digest != img.Platforms["linux/arm/v7"].Descriptor.Digest {
		t.Errorf("arm: %v, %v", m, err)
	}
	if _, err := img.Choose(v1.Platform{OS: "linux", Architecture: "s390x"}); err == nil || !strings.Contains(err.Error(), "linux/amd64, linux/arm/v7") {
		t.Errorf("a platform that is not there: %v", err)
	}
}

// TestCheck: everything wrong that the file says of an image is found, including sizes and media
// types.
func TestCheck(t *testing.T) {
	f, manifests := example(t)
	index := f.Images["docker.io/library/debian:12"]
	choose := func() *Chosen {
		c, err := index.Choose(v1.Platform{OS: "linux", Architecture: "amd64"})
		if err != nil {
			t.Fatal(err)
		}
		c.Layers = slices.Clone(c.Layers)
		return c
	}
	m := choose().Descriptor
	m.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"} // as an index lists it
	found, err := NewChosen(index.Descriptor, "linux/amd64", m, manifests["amd64"])
	if err != nil {
		t.Fatal(err)
	}
	if err := choose().Check(found); err != nil {
		t.Error(err)
	}
	other := digest.FromString("x")
	for name, c := range map[string]struct {
		change func(*Chosen)
		// mismatch says that digests differ.
		mismatch bool
	}{
		"index":               {func(c *Chosen) { c.Root.Digest = other }, true},
		"index's size":        {func(c *Chosen) { c.Root.Size++ }, false},
		"index's type":        {func(c *Chosen) { c.Root.MediaType = ocijson.DockerList }, false},
		"platform":            {func(c *Chosen) { c.Platform = "linux/arm64" }, false},
		"variant":             {func(c *Chosen) { c.Platform = "linux/amd64/v2" }, false},
		"manifest":            {func(c *Chosen) { c.Descriptor.Digest = other }, true},
		"manifest's size":     {func(c *Chosen) { c.Descriptor.Size-- }, false},
		"manifest's type":     {func(c *Chosen) { c.Descriptor.MediaType = ocijson.DockerManifest }, false},
		"config":              {func(c *Chosen) { c.Config.Digest = other }, true},
		"config's size":       {func(c *Chosen) { c.Config.Size++ }, false},
		"layer":               {func(c *Chosen) { c.Layers[1].Digest = other }, true},
		"layer's size":        {func(c *Chosen) { c.Layers[0].Size = 0 }, false},
		"layer's type":        {func(c *Chosen) { c.Layers[0].MediaType = v1.MediaTypeImageLayer }, false},
		"layers' order":       {func(c *Chosen) { slices.Reverse(c.Layers) }, true},
		"a layer less":        {func(c *Chosen) { c.Layers = c.Layers[:1] }, false},
		"a layer more":        {func(c *Chosen) { c.Layers = append(c.Layers, c.Layers[0]) }, false},
		"no layer of several": {func(c *Chosen) { c.Layers = nil }, false},
	} {
		bad := choose()
		c.change(bad)
		err := bad.Check(found)
		var lies *MismatchError
		var mismatch *layer.DigestError
		if !errors.As(err, &lies) || errors.As(err, &mismatch) != c.mismatch || !strings.Contains(err.Error(), Name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewChosen(index.Descriptor, "linux/amd64", m, []byte("{}")); err == nil {
		t.Error("an image without a manifest")
	}
}

// TestPinned: the entry of a reference with a digest has that digest.
func TestPinned(t *testing.T) {
	f, _ := example(t)
	image := f.Images["docker.io/library/debian:12"]
	pinned, other := image.Descriptor.Digest.String(), digest.FromString("x").String()
	for ref, want := range map[string]string{
		"docker.io/library/debian@" + pinned:    "",
		"docker.io/library/debian:12@" + pinned: "",
		"docker.io/library/debian@" + other:     "its digest is " + pinned + ", and the reference is for " + other,
		"docker.io/library/debian:12@" + other:  "its digest is " + pinned + ", and the reference is for " + other,
		// The same content has other digests too, which are not compared.
		"docker.io/library/debian@" + digest.SHA512.FromString("index").String(): "and the reference is for sha512:",
	} {
		t.Run(ref, func(t *testing.T) {
			data, err := (&File{Images: map[string]Image{ref: image}}).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(data)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: error %v, want one with %q", ref, err, want)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	f, _ := example(t)
	const ref = "docker.io/library/debian:12"
	if c := Diff(f, f); len(c) != 2 || c[0] != (Change{ref, ""}) {
		t.Errorf("no change: %q", c)
	}
	if c := Diff(&File{}, f); !strings.HasSuffix(c[0].Text, ", new, for linux/amd64, linux/arm/v7") {
		t.Errorf("new: %q", c)
	}
	is := NewImage(blob(v1.MediaTypeImageIndex, "other"))
	amd64 := f.Images[ref].Platforms["linux/amd64"]
	is.Platforms["linux/s390x"] = amd64
	amd64.Config.Size++
	is.Platforms["linux/amd64"] = amd64
	c := Diff(f, &File{Images: map[string]Image{ref: is}})
	want := digest.FromString("index").String() + " -> " + digest.FromString("other").String() + "; new: linux/s390x; changed: linux/amd64; gone: linux/arm/v7"
	if len(c) != 1 || c[0].Text != want {
		t.Errorf("changes %q, want %q", c, want)
	}
}

func FuzzParse(f *testing.F) {
	file, _ := example(f)
	data, err := file.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version": 1, "images": {}}`))
	f.Add([]byte(strings.ReplaceAll(string(data), "debian:12", "debian:12@"+digest.FromString("index").String())))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := Parse(data)
		if err != nil {
			return
		}
		out, err := parsed.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(out); err != nil || !reflect.DeepEqual(again, parsed) {
			t.Fatalf("%q is read again as %v, %v", out, again, err)
		}
		for ref, img := range parsed.Images {
			if _, pinned, ok := strings.Cut(ref, "@"); ok && pinned != img.Descriptor.Digest.String() {
				t.Errorf("%q stands for %s", ref, img.Descriptor.Digest)
			}
		}
	})
}
