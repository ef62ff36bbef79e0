package ocijson

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const emptyDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestWriteAndRead(t *testing.T) {
	d := v1.Descriptor{
		MediaType: v1.MediaTypeImageManifest, Digest: emptyDigest, Size: 7, URLs: []string{"https://example.com/x"},
		Annotations:  map[string]string{"b": "2", "a": "1"},
		Platform:     &v1.Platform{Architecture: "arm", OS: "linux", OSVersion: "1", Variant: "v7", OSFeatures: []string{"f"}},
		ArtifactType: "a/b",
	}
	index, err := Index([]v1.Descriptor{d}, map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := ParseIndex(index)
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], d) {
		t.Errorf("read again: %+v, %v", got, err)
	}
	var std v1.Index
	if err := json.Unmarshal(index, &std); err != nil || !reflect.DeepEqual(std.Manifests[0], d) || std.Annotations["k"] != "v" {
		t.Errorf("encoding/json reads %+v, %v", std, err)
	}
	manifest, err := Manifest(d, []v1.Descriptor{d, d}, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, layers, err := ParseManifest(manifest)
	if err != nil || len(layers) != 2 || !reflect.DeepEqual(config, d) {
		t.Errorf("read again: %+v, %d layers, %v", config, len(layers), err)
	}
	for data, want := range map[string]string{string(index): v1.MediaTypeImageIndex, string(manifest): v1.MediaTypeImageManifest} {
		if got, err := MediaType([]byte(data)); got != want || err != nil {
			t.Errorf("media type %q, %v; want %q", got, err, want)
		}
	}
}

func TestRefuse(t *testing.T) {
	manifest := func(descriptor string) string {
		return `{"schemaVersion":2,"config":` + descriptor + `,"layers":[]}`
	}
	for name, tt := range map[string]struct{ data, want string }{
		"schema 1":            {`{"schemaVersion":1,"fsLayers":[]}`, "schema 1"},
		"manifests too":       {`{"schemaVersion":2,"layers":[],"manifests":[]}`, "does not belong here"},
		"case variant":        {`{"schemaVersion":2,"Layers":[]}`, `expected "layers"`},
		"another type":        {`{"schemaVersion":2,"mediaType":"text/html"}`, `expected "application/vnd.oci.image.manifest.v1+json"`},
		"negative size":       {manifest(`{"mediaType":"a","digest":"` + emptyDigest + `","size":-1}`), "size is -1"},
		"huge size":           {manifest(`{"mediaType":"a","digest":"` + emptyDigest + `","size":9223372036854775808}`), "size is 9223372036854775808"},
		"path as digest":      {manifest(`{"mediaType":"a","digest":"sha256:../../x","size":1}`), `digest "sha256:../../x"`},
		"upper case":          {manifest(`{"mediaType":"a","digest":"` + strings.ToUpper(emptyDigest) + `","size":1}`), "expected sha256:"},
		"unknown algorithm":   {manifest(`{"mediaType":"a","digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1}`), "expected sha256:"},
		"no media type":       {manifest(`{"digest":"` + emptyDigest + `","size":1}`), "mediaType: not given"},
		"data != digest":      {manifest(`{"mediaType":"a","digest":"` + emptyDigest + `","size":1,"data":"eA=="}`), "not what the digest"},
		"annotation a number": {manifest(`{"mediaType":"a","digest":"` + emptyDigest + `","size":1,"annotations":{"a":1}}`), "expected a string"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ParseManifest([]byte(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := MediaType([]byte(`{"schemaVersion":1}`)); !errors.Is(err, ErrSchema1) {
		t.Errorf("MediaType of schema 1: %v", err)
	}
}

// FuzzDigest: an accepted digest means what the text said, has only one spelling
// and contains nothing that is special in a path or a URL.
func FuzzDigest(f *testing.F) {
	digits := strings.TrimPrefix(emptyDigest, "sha256:")
	for _, s := range []string{
		emptyDigest, "sha512:" + digits + digits, "", "sha256:", digits, "sha256:" + digits[1:], emptyDigest + "0", strings.ToUpper(emptyDigest),
		"sha256:" + strings.ToUpper(digits), "sha256:../../../etc/passwd", emptyDigest[:70] + "/", emptyDigest + "\n", "md5:d41d8cd98f00b204e9800998ecf8427e",
		"sha384:" + digits + digits[:32], "sha256+b64:" + digits, "sha256:sha256:" + digits,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDigest(s)
		if err != nil {
			if d != "" {
				t.Errorf("%q is refused (%v), and is %q", s, err, d)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("the error has control characters in it: %q", err)
			}
			return
		}
		text, ok := strings.CutPrefix(s, string(d.Algorithm())+":")
		sum, err := hex.DecodeString(text)
		if !ok || err != nil || text != strings.ToLower(text) || len(sum) != d.Algorithm().Size() || d.String() != s {
			t.Errorf("%q is taken for %q", s, d)
		}
		if again, err := ParseDigest(d.String()); err != nil || again != d {
			t.Errorf("%q, and again %q, %v", d, again, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"` + emptyDigest + `","size":0,"data":"","platform":{"os":"linux"}}]}`))
	f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"a","digest":"` + emptyDigest + `","size":2,"urls":["x"]},"layers":[]}`))
	f.Add([]byte(`{"schemaVersion":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var all []v1.Descriptor
		if _, list, err := ParseIndex(data); err == nil {
			all = append(all, list...)
		}
		if config, layers, err := ParseManifest(data); err == nil {
			all = append(append(all, config), layers...)
			written, err := Manifest(config, layers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c, l, err := ParseManifest(written); err != nil || !reflect.DeepEqual(c, config) || len(l) != len(layers) || len(l) > 0 && !reflect.DeepEqual(l, layers) {
				t.Errorf("%s is written as %s, and read as %+v and %+v, %v", data, written, c, l, err)
			}
		}
		for _, d := range all {
			if d.Digest.Validate() != nil || d.Size < 0 || d.MediaType == "" {
				t.Errorf("descriptor %+v", d)
			}
			if again, err := digest.Parse(d.Digest.String()); err != nil || again != d.Digest {
				t.Errorf("digest %q: %v", d.Digest, err)
			}
		}
	})
}
