package image

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
)

const plainConfig = `{"architecture": "amd64", "os": "linux"}`

// withManifest returns an image of one layer whose manifest text makes from an OCI one.
func withManifest(t *testing.T, config string, change func(manifest string) string) (*Stored, []v1.Descriptor) {
	t.Helper()
	img := stored(t, config, "layer")
	layers := []v1.Descriptor{{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString("blob"), Size: 4}}
	doc := NewDocument(v1.MediaTypeImageConfig, img.ConfigJSON)
	data, err := ocijson.Manifest(doc.Descriptor, layers, map[string]string{"its": "own"})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		data = []byte(change(string(data)))
	}
	img.Manifest = data
	img.ManifestDescriptor = NewDocument("", data).Descriptor
	return img, layers
}

// asDocker replaces a manifest's media types by Docker's.
func asDocker(text string) string {
	return strings.NewReplacer(
		v1.MediaTypeImageManifest, ocijson.DockerManifest, v1.MediaTypeImageConfig, ocijson.DockerConfig,
		v1.MediaTypeImageLayerGzip, ocijson.DockerLayerGzip).Replace(text)
}

// TestManifestKept: the manifest that an image has stays as it is if it says what a new one
// would.
func TestManifestKept(t *testing.T) {
	for _, c := range []struct {
		what     string
		manifest func(string) string // nil is OCI's
		change   func(img *Stored, layers *[]v1.Descriptor)
		docker   bool
		kept     bool
	}{
		{what: "OCI's", kept: true},
		{what: "OCI's where Docker's could be", docker: true, kept: true},
		{what: "Docker's", manifest: asDocker, docker: true, kept: true},
		{what: "Docker's where there is none", manifest: asDocker},
		{what: "in another layout", manifest: func(text string) string { return " " + text + "\n" }, kept: true},
		{what: "none", manifest: func(string) string { return "" }},
		{what: "garbage", manifest: func(string) string { return "[]" }},
		{what: "other annotations to write", change: func(img *Stored, _ *[]v1.Descriptor) { img.Annotations = map[string]string{"a": "1"} }},
		{what: "no annotations to write", change: func(img *Stored, _ *[]v1.Descriptor) { img.Annotations = map[string]string{} }, kept: true},
		{what: "another blob", change: func(_ *Stored, l *[]v1.Descriptor) { (*l)[0].Digest = digest.FromString("other") }},
		{what: "another size", change: func(_ *Stored, l *[]v1.Descriptor) { (*l)[0].Size++ }},
		{what: "one layer more", change: func(_ *Stored, l *[]v1.Descriptor) { *l = append(*l, (*l)[0]) }},
		{what: "one layer less", change: func(_ *Stored, l *[]v1.Descriptor) { *l = nil }},
		{what: "another media type", change: func(_ *Stored, l *[]v1.Descriptor) { (*l)[0].MediaType = v1.MediaTypeImageLayerZstd }},
		{what: "another media type, where all are kept", change: func(_ *Stored, l *[]v1.Descriptor) { (*l)[0].MediaType = ocijson.DockerLayerGzip }, docker: true, kept: true},
		{what: "another config", change: func(img *Stored, _ *[]v1.Descriptor) { img.ConfigJSON = append(slices.Clone(img.ConfigJSON), '\n') }},
	} {
		img, layers := withManifest(t, plainConfig, c.manifest)
		if c.change != nil {
			c.change(img, &layers)
		}
		for _, i := range []Image{img, Named{Image: img}} {
			config, manifest, err := Manifest(t.Context(), i, layers, c.docker)
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
				continue
			}
			if kept := bytes.Equal(manifest.Data, img.Manifest); kept != c.kept {
				t.Errorf("%s: kept: %v, want %v\n%s", c.what, kept, c.kept, manifest.Data)
			}
			checkDocuments(t, c.what, img, layers, config, manifest, c.kept)
		}
	}
}

// checkDocuments compares the descriptors with what they describe.
func checkDocuments(t *testing.T, what string, img *Stored, layers []v1.Descriptor, config, manifest Document, kept bool) {
	t.Helper()
	for _, doc := range []Document{config, manifest} {
		if doc.Descriptor.Digest != digest.FromBytes(doc.Data) || doc.Descriptor.Size != int64(len(doc.Data)) {
			t.Errorf("%s: %s is said to be %+v", what, doc.Data, doc.Descriptor)
		}
	}
	mediaType, err := ocijson.MediaType(manifest.Data)
	if err != nil || manifest.Descriptor.MediaType != mediaType || !kept && mediaType != v1.MediaTypeImageManifest {
		t.Errorf("%s: a manifest of type %q, %v, is said to be of type %q", what, mediaType, err, manifest.Descriptor.MediaType)
	}
	if p := manifest.Descriptor.Platform; p == nil || p.OS != "linux" || p.Architecture != "amd64" {
		t.Errorf("%s: it is for %+v", what, p)
	}
	if !bytes.Equal(config.Data, img.ConfigJSON) {
		t.Errorf("%s: the config is %s", what, config.Data)
	}
	if kept {
		return
	}
	had, list, err := ocijson.ParseManifest(manifest.Data)
	if err != nil || had.Digest != config.Descriptor.Digest || len(list) != len(layers) {
		t.Errorf("%s: the new manifest is %s, %v", what, manifest.Data, err)
	}
	if own := strings.Contains(string(manifest.Data), `"a": "1"`); own != (len(img.Annotations) > 0) {
		t.Errorf("%s: the new manifest has the annotations: %v", what, own)
	}
}

// TestManifestDigests: a document that is kept keeps its known digest, if that digest is right.
func TestManifestDigests(t *testing.T) {
	config512 := digest.SHA512.FromBytes(stored(t, plainConfig, "layer").ConfigJSON)
	img, layers := withManifest(t, plainConfig, func(text string) string {
		return strings.Replace(text, digest.FromBytes(stored(t, plainConfig, "layer").ConfigJSON).String(), config512.String(), 1)
	})
	manifest512 := digest.SHA512.FromBytes(img.Manifest)
	for is, want := range map[digest.Digest]digest.Digest{
		manifest512: manifest512, "": digest.FromBytes(img.Manifest), "md5:x": digest.FromBytes(img.Manifest),
		digest.SHA512.FromString("other"): digest.FromBytes(img.Manifest),
	} {
		img.ManifestDescriptor.Digest = is
		config, manifest, err := Manifest(t.Context(), img, layers, false)
		if err != nil || !bytes.Equal(manifest.Data, img.Manifest) || manifest.Descriptor.Digest != want || config.Descriptor.Digest != config512 {
			t.Errorf("called %q: manifest %s, config %s, %v", is, manifest.Descriptor.Digest, config.Descriptor.Digest, err)
		}
	}
}

// TestManifestMade: an image that is being made, or has no manifest, gets an OCI one, without
// Docker's media types and with its config as OCI has it.
func TestManifestMade(t *testing.T) {
	d, _ := fakeImage(1)
	d.Annotations = map[string]string{"a": "1"}
	layers := []v1.Descriptor{{MediaType: ocijson.DockerLayerGzip, Digest: digest.FromString("blob"), Size: 4}}
	config, manifest, err := Manifest(t.Context(), Named{Image: New(d)}, layers, true)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := New(d).RawConfig(t.Context())
	if err != nil || !bytes.Equal(config.Data, raw) {
		t.Errorf("config %s, %v", config.Data, err)
	}
	if text := string(manifest.Data); strings.Contains(text, "docker") || !strings.Contains(text, v1.MediaTypeImageLayerGzip) || !strings.Contains(text, `"a": "1"`) {
		t.Errorf("manifest %s", text)
	}

	old := stored(t, `{"architecture": "amd64", "os": "linux", "config": {"Cmd": "/bin/sh"}}`, "layer")
	if config, _, err = Manifest(t.Context(), old, layers, true); err != nil || bytes.Equal(config.Data, old.ConfigJSON) || config.Descriptor.Digest != digest.FromBytes(config.Data) {
		t.Errorf("a command that is a text: %s, %v", config.Data, err)
	}
	kept, layers := withManifest(t, `{"architecture": "amd64", "os": "linux", "config": {"Cmd": "/bin/sh"}}`, nil)
	if config, _, err = Manifest(t.Context(), kept, layers, false); err != nil || !bytes.Equal(config.Data, kept.ConfigJSON) {
		t.Errorf("one below a manifest that is kept: %s, %v", config.Data, err)
	}

	broken, fakes := fakeImage(1)
	fakes[0].err = errBroken
	if _, _, err := Manifest(t.Context(), New(broken), layers, false); err == nil {
		t.Error("a layer that cannot be read is not an error")
	}
	d.Annotations = map[string]string{"a": strings.Repeat("x", ocijson.MaxSize)}
	if _, _, err := Manifest(t.Context(), New(d), layers, false); err == nil || !strings.Contains(err.Error(), "can be read again") {
		t.Errorf("a manifest that nobody could read again: %.200v", err)
	}
}
