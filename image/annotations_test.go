package image

import (
	"maps"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// TestUntold: what a base's manifest says of its layers is not repeated in the manifest of an image
// on it, whose maker would seem to say it; a manifest that is kept is kept as a whole.
func TestUntold(t *testing.T) {
	d := v1.Descriptor{
		MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString("blob"), Size: 5,
		Annotations: map[string]string{AnnotationKey: digest.FromString("key").String(), AnnotationCompressor: "1 gz", "org.example.note": "stays"},
	}
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["` + digest.FromString("tar").String() + `"]}}`)
	base, err := NewStored(config, []StoredLayer{&layer.Blob{Descriptor: d, DiffID: digest.FromString("tar")}})
	if err != nil {
		t.Fatal(err)
	}
	if base.Manifest, err = ocijson.Manifest(NewDocument(v1.MediaTypeImageConfig, config).Descriptor, []v1.Descriptor{d}, nil); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		img  Image
		want map[string]string
	}{
		"copied":   {base, d.Annotations},
		"built on": {New(Description{Base: base, Layers: base.Layers(), OS: "linux", Architecture: "amd64"}), map[string]string{"org.example.note": "stays"}},
	} {
		_, manifest, err := Manifest(t.Context(), tt.img, []v1.Descriptor{d}, false)
		if err != nil {
			t.Fatal(err)
		}
		_, layers, err := ocijson.ParseManifest(manifest.Data)
		if err != nil || !maps.Equal(layers[0].Annotations, tt.want) {
			t.Errorf("%s: annotations %v, want %v; %v", name, layers[0].Annotations, tt.want, err)
		}
	}
	if len(d.Annotations) != 3 {
		t.Error("the descriptor itself was changed")
	}
}
