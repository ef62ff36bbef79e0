package ocilayout

import (
	_ "crypto/sha512" // go-digest has the algorithms that are linked in
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ordjson"
)

// maxDescriptors bounds an index's manifests and a manifest's layers.
const maxDescriptors = 10_000

func sortedObject(m map[string]string) *ordjson.Object {
	o := &ordjson.Object{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		o.Members = append(o.Members, ordjson.Member{Key: key, Value: m[key]})
	}
	return o
}

// parseIndex reads an image index (image-index.md), which index.json is too.
func parseIndex(data []byte) (*ordjson.Object, []v1.Descriptor, error) {
	o, err := ordjson.ParseObject(data, "schemaVersion", "mediaType", "manifests", "layers", "config")
	if err != nil {
		return nil, nil, err
	}
	if err := checkHead(o, v1.MediaTypeImageIndex, mediaTypeDockerList); err != nil {
		return nil, nil, err
	}
	if err := without(o, "layers", "config"); err != nil {
		return nil, nil, err
	}
	manifests, err := descriptors(o, "manifests")
	return o, manifests, err
}

// Docker's names for the same formats (distribution, manifest v2 schema 2).
const (
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

// parseManifest reads an image manifest (manifest.md) and returns its config
// and layers.
func parseManifest(data []byte) (config v1.Descriptor, layers []v1.Descriptor, err error) {
	o, err := ordjson.ParseObject(data, "schemaVersion", "mediaType", "config", "layers", "manifests")
	if err != nil {
		return config, nil, err
	}
	if err := checkHead(o, v1.MediaTypeImageManifest, mediaTypeDockerManifest); err != nil {
		return config, nil, err
	}
	if err := without(o, "manifests", "fsLayers"); err != nil {
		return config, nil, err
	}
	v, _ := o.Get("config")
	if config, err = parseDescriptor(v); err != nil {
		return config, nil, fmt.Errorf("config: %w", err)
	}
	layers, err = descriptors(o, "layers")
	return config, layers, err
}

// checkHead checks the fields that an index and a manifest begin with.
func checkHead(o *ordjson.Object, mediaTypes ...string) error {
	if version, _ := o.Get("schemaVersion"); version != json.Number("2") {
		return fmt.Errorf("schemaVersion is %s, expected 2", show(version))
	}
	mediaType, given := o.Get("mediaType")
	if text, ok := mediaType.(string); given && (!ok || !slices.Contains(mediaTypes, text)) {
		return fmt.Errorf("mediaType is %s, expected %q", show(mediaType), mediaTypes[0])
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

// show is a value as a message may have it.
func show(v any) string {
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
	if len(list) > maxDescriptors {
		return nil, fmt.Errorf("%s: %d of them, more than %d", key, len(list), maxDescriptors)
	}
	out := make([]v1.Descriptor, len(list))
	for i, item := range list {
		var err error
		if out[i], err = parseDescriptor(item); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, err)
		}
	}
	return out, nil
}

// parseDescriptor reads a descriptor (descriptor.md). Its digest is valid and
// its size is not negative.
func parseDescriptor(v any) (d v1.Descriptor, err error) {
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
	if d.Digest, err = parseDigest(text); err != nil {
		return d, err
	}
	size, _ := o.Get("size")
	number, _ := size.(json.Number)
	if d.Size, err = strconv.ParseInt(number.String(), 10, 64); err != nil || d.Size < 0 {
		return d, fmt.Errorf("size is %s, expected a number of bytes", show(size))
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

// parseDigest reads a digest that may become part of a path.
func parseDigest(s string) (digest.Digest, error) {
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

// checkData checks content that a descriptor embeds: some readers use it in
// the place of the blob.
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

// replaceManifest puts a descriptor into an index.json: in the place of the
// first one with the same name, whose other bearers go, or at the end.
func replaceManifest(index *ordjson.Object, manifest v1.Descriptor) error {
	v, _ := index.Get("manifests")
	list, ok := v.([]any)
	if !ok {
		return errors.New("manifests: expected a list")
	}
	refName := manifest.Annotations[v1.AnnotationRefName]
	out, placed := make([]any, 0, len(list)+1), false
	for _, item := range list {
		d, err := parseDescriptor(item)
		if err != nil {
			return err
		}
		switch {
		case d.Annotations[v1.AnnotationRefName] != refName:
			out = append(out, item)
		case !placed:
			out, placed = append(out, descriptorObject(manifest)), true
		}
	}
	if !placed {
		out = append(out, descriptorObject(manifest))
	}
	index.Set("manifests", out)
	return nil
}
