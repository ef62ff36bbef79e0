package ocilayout

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
)

var parserSeeds = []string{
	`{"schemaVersion":2,"manifests":[]}`,
	`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"data":"","urls":["x"],` +
		`"annotations":{"org.opencontainers.image.ref.name":"v1"},"platform":{"architecture":"arm64","os":"linux","variant":"v8","os.features":["a"]}}]}`,
	`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",` +
		`"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2},"layers":[]}`,
	`{"schemaVersion":2.0,"manifests":{}}`,
	`{"schemaVersion":2,"Manifests":[],"manifests":null}`,
	`{"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}`,
}

// wantSound fails unless a descriptor is safe to form a path from.
func wantSound(t *testing.T, d v1.Descriptor) {
	t.Helper()
	if err := d.Digest.Validate(); err != nil || d.Size < 0 || d.MediaType == "" {
		t.Errorf("descriptor %+v (%v)", d, err)
	}
	if n := len(BlobPath(d.Digest)); n != len("blobs/sha256/")+64 && n != len("blobs/sha512/")+128 {
		t.Errorf("path %q", BlobPath(d.Digest))
	}
}

// FuzzIndex: an index that can be read has sound descriptors, reads the same
// after it is written again, and accepts another image.
func FuzzIndex(f *testing.F) {
	for _, seed := range parserSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		index, descs, err := ocijson.ParseIndex(data)
		if err != nil {
			return
		}
		for _, d := range descs {
			wantSound(t, d)
		}
		var generic map[string]any
		if err := json.Unmarshal(data, &generic); err != nil {
			t.Errorf("encoding/json refuses it: %v", err)
		}
		added := v1.Descriptor{
			MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1,
			Annotations: map[string]string{v1.AnnotationRefName: "added"},
		}
		if err := replaceManifest(index, added); err != nil {
			t.Fatal(err)
		}
		again, err := ordjson.Marshal(index)
		if err != nil {
			t.Fatal(err)
		}
		_, after, err := ocijson.ParseIndex(again)
		if err != nil || len(after) == 0 || len(after) > len(descs)+1 {
			t.Errorf("after adding one: %d descriptors, %v", len(after), err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	for _, seed := range parserSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if config, layers, err := ocijson.ParseManifest(data); err == nil {
			for _, d := range append(layers, config) {
				wantSound(t, d)
			}
		}
		if _, ids, err := image.ParseConfig(data); err == nil {
			for _, id := range ids {
				if err := id.Validate(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func TestParseDigest(t *testing.T) {
	hex := digest.FromString("x").Encoded()
	for _, s := range []string{
		"", "sha256:", "sha256", hex, "sha256:" + hex[1:], "sha256:" + hex + "0", "SHA256:" + hex, "sha256:../../../etc/passwd",
		"sha256:" + hex[:62] + "/.", "sha384:" + hex + hex[:32], "md5:" + hex[:32], "sha256:" + hex + "\n", "sha256+b64:" + hex,
	} {
		if d, err := ocijson.ParseDigest(s); err == nil {
			t.Errorf("%q is taken as %s", s, d)
		}
	}
	for _, d := range []digest.Digest{digest.FromString("x"), digest.SHA512.FromString("x")} {
		if got, err := ocijson.ParseDigest(d.String()); err != nil || got != d {
			t.Errorf("%s: %s, %v", d, got, err)
		}
	}
}
