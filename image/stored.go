package image

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// Stored is an image in a place: an archive, a layout, a registry or an engine.
type Stored struct {
	// Manifest is its manifest as it is stored, and ManifestDescriptor the manifest's
	// descriptor; both are empty where there is none.
	Manifest           []byte
	ManifestDescriptor v1.Descriptor
	// Raw is the document that its name stands for in its place, as it is stored: the index that
	// it was chosen from, the manifest, or a docker-archive's manifest.json.
	Raw []byte
	// ConfigJSON is its config as it is stored, and Config the same, parsed.
	ConfigJSON []byte
	Config     *ordjson.Object
	// DiffIDs are the layers' diffIDs, as Config lists them.
	DiffIDs []digest.Digest
	// Annotations are written into a new manifest, which the image gets where it has none, or one
	// with other annotations or other layers.
	Annotations map[string]string

	layers []StoredLayer
	memo   StoredMemo
}

// The default limits of what an image's layers unpack to, and of how many entries they have.
const (
	defaultUnpacked = 64 << 30
	defaultEntries  = 2_000_000
)

// NewBudget returns the limits for one image's layers; they default to 64 GiB and two million
// entries.
func NewBudget(maxBytes int64, maxEntries int) *layer.Budget {
	if maxBytes <= 0 {
		maxBytes = defaultUnpacked
	}
	if maxEntries <= 0 {
		maxEntries = defaultEntries
	}
	return layer.NewBudget(maxBytes, int64(maxEntries))
}

// Limit makes reading a layer fail when more than the budget was read of all layers together.
// What is read twice counts once.
func (img *Stored) Limit(budget *layer.Budget) {
	for _, l := range img.layers {
		if b, ok := l.(LimitedLayer); ok {
			b.Limit(budget)
		}
	}
}

// NewStored returns the image of a config, as it is stored, and of the layers that a place
// has. Its other fields are for the place to set.
func NewStored(config []byte, layers []StoredLayer) (*Stored, error) {
	img := &Stored{ConfigJSON: config, layers: layers}
	var err error
	if img.Config, img.DiffIDs, err = ParseConfig(config); err != nil {
		return nil, err
	}
	if len(img.DiffIDs) != len(layers) {
		return nil, fmt.Errorf("it has %d diff_ids for %d layers", len(img.DiffIDs), len(layers))
	}
	return img, nil
}

// Layers returns the layers, each a StoredLayer, the lowest first.
func (img *Stored) Layers() []Layer {
	list := make([]Layer, len(img.layers))
	for i, l := range img.layers {
		list[i] = l
	}
	return list
}

// StoredLayers returns the layers, the lowest first.
func (img *Stored) StoredLayers() []StoredLayer { return img.layers }

// RawConfig returns ConfigJSON.
func (img *Stored) RawConfig(context.Context) ([]byte, error) { return img.ConfigJSON, nil }

// Platform returns the image's platform in the index or, without an index, in its config.
func (img *Stored) Platform() v1.Platform {
	if p := img.ManifestDescriptor.Platform; p != nil {
		return ocijson.Normal(*p)
	}
	p := img.ConfigPlatform()
	return ocijson.Normal(v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
}

// Index returns the digest of the index that the image was chosen from, or "" for none.
func (img *Stored) Index() digest.Digest {
	mediaType, err := ocijson.MediaType(img.Raw)
	if err != nil || !ocijson.IsIndex(mediaType) {
		return ""
	}
	return digest.FromBytes(img.Raw)
}

// ConfigPlatform returns the image's platform in its config.
func (img *Stored) ConfigPlatform() v1.Platform { return PlatformOf(img.Config) }

// PlatformOf returns the platform that a config names.
func PlatformOf(config *ordjson.Object) v1.Platform {
	var p v1.Platform
	for _, f := range []struct {
		key string
		to  *string
	}{{"architecture", &p.Architecture}, {"os", &p.OS}, {"os.version", &p.OSVersion}, {"variant", &p.Variant}} {
		*f.to, _ = config.String(f.key)
	}
	return p
}

// ListedFor returns the platform that the index lists the image for, or the config's where no
// index names one.
func (img *Stored) ListedFor() v1.Platform {
	if p := img.ManifestDescriptor.Platform; p != nil {
		return *p
	}
	return img.ConfigPlatform()
}

// CheckFor refuses an image that is not for the platform that was asked for, by the index
// that lists it, or by its config, which may leave out what the index says.
func (img *Stored) CheckFor(want v1.Platform) error {
	own := img.ListedFor()
	if img.CheckPlatform() != nil {
		own = img.ConfigPlatform()
	}
	if ocijson.Matches(want, &own) {
		return nil
	}
	return fmt.Errorf("the image is for %s alone, not for %s", ocijson.PlatformText(&own), ocijson.PlatformText(&want))
}

// CheckPlatform compares the image's platform in the index with the one in its config.
func (img *Stored) CheckPlatform() error {
	if err := ocijson.CheckAnnounced(img.ManifestDescriptor.Platform, img.ConfigPlatform()); err != nil {
		return fmt.Errorf("manifest %s: %w", img.ManifestDescriptor.Digest, err)
	}
	return nil
}

// history returns the config's history, or one with an entry for each layer where the config's
// does not cover them all.
func (img *Stored) history() []any {
	v, _ := img.Config.Get("history")
	list, _ := v.([]any)
	layers := 0
	for _, item := range list {
		o, _ := item.(*ordjson.Object)
		if !emptyLayer(o) {
			layers++
		}
	}
	if layers == len(img.layers) {
		return list
	}
	list = nil
	created, _ := img.Config.Get("created")
	for range img.layers {
		o := &ordjson.Object{}
		if created != nil {
			o.Set("created", created)
		}
		o.Set("comment", "layer of the base image, whose history does not tell")
		list = append(list, o)
	}
	return list
}

// emptyLayer reports whether a history entry has no layer.
func emptyLayer(entry *ordjson.Object) bool {
	empty, _ := entry.Get("empty_layer")
	return empty == true
}

// ParseConfig reads an image config and its diffIDs (OCI image-spec, config.md). Keys that a
// reader might take for rootfs or diff_ids are an error.
func ParseConfig(data []byte) (*ordjson.Object, []digest.Digest, error) {
	config, err := ordjson.ParseObject(data, "rootfs", "history", "config", "architecture", "os")
	if err != nil {
		return nil, nil, err
	}
	v, _ := config.Get("rootfs")
	rootfs, err := ordjson.AsObject(v, "diff_ids")
	if err != nil {
		return nil, nil, fmt.Errorf("rootfs: %w", err)
	}
	texts, err := rootfs.Strings("diff_ids")
	if err != nil {
		return nil, nil, fmt.Errorf("rootfs.%w", err)
	}
	ids := make([]digest.Digest, len(texts))
	for i, t := range texts {
		if ids[i], err = digest.Parse(t); err != nil || ids[i].Algorithm() != digest.SHA256 {
			return nil, nil, fmt.Errorf("rootfs.diff_ids[%d]: %q is not sha256: and 64 hexadecimal digits", i, t)
		}
	}
	return config, ids, nil
}
