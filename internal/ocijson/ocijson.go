// Package ocijson reads and writes the JSON of manifests and indexes: OCI
// image-spec 1.1's (manifest.md, image-index.md, descriptor.md) and Docker's
// schema 2, which differs in media types alone.
//
// Guarantees:
//
//   - Reading is strict: no repeated keys, none that differ from a known one in
//     case alone, not both the fields of an index and those of a manifest.
//   - A descriptor that was read has a media type, a size that is not negative,
//     and a digest that is safe to form a path or a URL from.
//   - What is written depends on the values alone.
//
// Non-goals: fetching what descriptors point at; Docker's schema 1, which is
// refused by name.
package ocijson

import (
	_ "crypto/sha512" // go-digest has the algorithms that are linked in
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
)

const (
	// MaxSize limits an index, a manifest and a config, in bytes.
	MaxSize = 8 << 20
	// MaxDescriptors limits an index's manifests and a manifest's layers.
	MaxDescriptors = 10_000
	// MaxNesting is how deep indexes may be nested.
	MaxNesting = 4
)

// Docker's names for the same formats (distribution, manifest v2 schema 2).
const (
	DockerList          = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerManifest      = "application/vnd.docker.distribution.manifest.v2+json"
	DockerConfig        = "application/vnd.docker.container.image.v1+json"
	DockerLayer         = "application/vnd.docker.image.rootfs.diff.tar"
	DockerLayerGzip     = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	DockerForeignLayer  = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	DockerForeignGzip   = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	DockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	DockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// ErrSchema1 is returned for a manifest of Docker's schema 1, which does not say
// what its layers are.
var ErrSchema1 = errors.New("it is a manifest of Docker's schema 1, from before 2016: push the image again with a current tool")

// IsIndex reports whether a media type is that of a list of manifests.
func IsIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == DockerList
}

// IsManifest reports whether a media type is that of an image's manifest.
func IsManifest(mediaType string) bool {
	return mediaType == v1.MediaTypeImageManifest || mediaType == DockerManifest
}

// IsAttestation reports whether a descriptor is something that BuildKit adds to an
// index beside the images.
func IsAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// MediaType returns the media type that a document states or, if it states none,
// the one that its fields imply.
func MediaType(data []byte) (string, error) {
	o, err := ordjson.ParseObject(data, "schemaVersion", "mediaType", "manifests", "layers", "config")
	if err != nil {
		return "", err
	}
	if version, _ := o.Get("schemaVersion"); version == json.Number("1") {
		return "", ErrSchema1
	}
	mediaType, err := o.String("mediaType")
	if err != nil || mediaType != "" {
		return mediaType, err
	}
	if _, ok := o.Get("manifests"); ok {
		return v1.MediaTypeImageIndex, nil
	}
	return v1.MediaTypeImageManifest, nil
}

// ParseIndex reads an image index (image-index.md); a layout's index.json is one, too.
func ParseIndex(data []byte) (*ordjson.Object, []v1.Descriptor, error) {
	o, err := ordjson.ParseObject(data, "schemaVersion", "mediaType", "manifests", "layers", "config")
	if err != nil {
		return nil, nil, err
	}
	if err := checkHead(o, v1.MediaTypeImageIndex, DockerList); err != nil {
		return nil, nil, err
	}
	if err := without(o, "layers", "config"); err != nil {
		return nil, nil, err
	}
	manifests, err := descriptors(o, "manifests")
	return o, manifests, err
}

// ParseManifest reads an image manifest (manifest.md) and returns its config
// and layers.
func ParseManifest(data []byte) (config v1.Descriptor, layers []v1.Descriptor, err error) {
	o, err := ordjson.ParseObject(data, "schemaVersion", "mediaType", "config", "layers", "manifests")
	if err != nil {
		return config, nil, err
	}
	if err := checkHead(o, v1.MediaTypeImageManifest, DockerManifest); err != nil {
		return config, nil, err
	}
	if err := without(o, "manifests", "fsLayers"); err != nil {
		return config, nil, err
	}
	v, _ := o.Get("config")
	if config, err = ParseDescriptor(v); err != nil {
		return config, nil, fmt.Errorf("config: %w", err)
	}
	layers, err = descriptors(o, "layers")
	return config, layers, err
}

// Annotations returns the annotations of a manifest or an index; nil without a document.
func Annotations(data []byte) (map[string]string, error) {
	if len(data) == 0 {
		return nil, nil
	}
	o, err := ordjson.ParseObject(data, "annotations")
	if err != nil {
		return nil, err
	}
	return stringMap(o, "annotations")
}

// checkHead checks the fields that an index and a manifest begin with.
func checkHead(o *ordjson.Object, mediaTypes ...string) error {
	switch version, _ := o.Get("schemaVersion"); version {
	case json.Number("2"):
	case json.Number("1"):
		return ErrSchema1
	default:
		return fmt.Errorf("schemaVersion is %s, expected 2", Show(version))
	}
	mediaType, given := o.Get("mediaType")
	if text, ok := mediaType.(string); given && (!ok || !slices.Contains(mediaTypes, text)) {
		return fmt.Errorf("mediaType is %s, expected %q", Show(mediaType), mediaTypes[0])
	}
	return nil
}

func without(o *ordjson.Object, keys ...string) error {
	for _, key := range keys {
		if _, given := o.Get(key); given {
			return fmt.Errorf("field %q does not belong here: an index has manifests, a manifest config and layers", key)
		}
	}
	return nil
}

// Show writes a value for a message.
func Show(v any) string {
	switch v := v.(type) {
	case nil:
		return "not given"
	case string:
		return strconv.Quote(v)
	case json.Number:
		return v.String()
	}
	return "of another type"
}

func descriptors(o *ordjson.Object, key string) ([]v1.Descriptor, error) {
	v, _ := o.Get(key)
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: expected a list", key)
	}
	if len(list) > MaxDescriptors {
		return nil, fmt.Errorf("%s: %d of them, more than %d", key, len(list), MaxDescriptors)
	}
	out := make([]v1.Descriptor, len(list))
	for i, item := range list {
		var err error
		if out[i], err = ParseDescriptor(item); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, err)
		}
	}
	return out, nil
}

// ParseDescriptor reads a descriptor (descriptor.md).
func ParseDescriptor(v any) (d v1.Descriptor, err error) {
	o, err := ordjson.AsObject(v, "mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
	if err != nil {
		return d, err
	}
	var text string
	for _, f := range []struct {
		key string
		to  *string
	}{{"mediaType", &d.MediaType}, {"digest", &text}, {"artifactType", &d.ArtifactType}} {
		if *f.to, err = o.String(f.key); err != nil {
			return d, err
		}
	}
	if d.MediaType == "" {
		return d, errors.New("mediaType: not given")
	}
	if d.Digest, err = ParseDigest(text); err != nil {
		return d, err
	}
	size, _ := o.Get("size")
	number, _ := size.(json.Number)
	if d.Size, err = strconv.ParseInt(number.String(), 10, 64); err != nil || d.Size < 0 {
		return d, fmt.Errorf("size is %s, expected a number of bytes", Show(size))
	}
	if d.URLs, err = o.Strings("urls"); err != nil {
		return d, err
	}
	if d.Annotations, err = stringMap(o, "annotations"); err != nil {
		return d, err
	}
	if d.Platform, err = parsePlatform(o); err != nil {
		return d, err
	}
	return d, checkData(o, d)
}

// ParseDigest reads a digest that may become part of a path or a URL.
func ParseDigest(s string) (digest.Digest, error) {
	d, err := digest.Parse(s)
	if err != nil || d.Algorithm() != digest.SHA256 && d.Algorithm() != digest.SHA512 {
		return "", fmt.Errorf("digest %q: expected sha256: and 64 hexadecimal digits, or sha512: and 128", s)
	}
	return d, nil
}

func parsePlatform(o *ordjson.Object) (*v1.Platform, error) {
	v, given := o.Get("platform")
	if !given || v == nil {
		return nil, nil
	}
	po, err := ordjson.AsObject(v, "architecture", "os", "variant", "os.version", "os.features")
	if err != nil {
		return nil, fmt.Errorf("platform: %w", err)
	}
	p := &v1.Platform{}
	for _, f := range []struct {
		key string
		to  *string
	}{{"architecture", &p.Architecture}, {"os", &p.OS}, {"variant", &p.Variant}, {"os.version", &p.OSVersion}} {
		if *f.to, err = po.String(f.key); err != nil {
			return nil, fmt.Errorf("platform: %w", err)
		}
	}
	p.OSFeatures, err = po.Strings("os.features")
	return p, err
}

// checkData checks content that a descriptor embeds: some readers use it instead of
// the blob.
func checkData(o *ordjson.Object, d v1.Descriptor) error {
	text, err := o.String("data")
	if err != nil || text == "" {
		return err
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if int64(len(data)) != d.Size || d.Digest.Algorithm().FromBytes(data) != d.Digest {
		return fmt.Errorf("data: it is not what the digest %s says", d.Digest)
	}
	return nil
}

func stringMap(o *ordjson.Object, key string) (map[string]string, error) {
	v, _ := o.Get(key)
	if v == nil {
		return nil, nil
	}
	mo, ok := v.(*ordjson.Object)
	if !ok {
		return nil, fmt.Errorf("%s: expected an object", key)
	}
	out := make(map[string]string, len(mo.Members))
	for _, m := range mo.Members {
		if out[m.Key], ok = m.Value.(string); !ok {
			return nil, fmt.Errorf("%s: %q: expected a string", key, m.Key)
		}
	}
	return out, nil
}
