package lockfile

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/problems"
)

// MaxSize limits the file, in bytes.
const MaxSize = 8 << 20

// Parse reads the content of a varve.lock.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("larger than %d MiB", MaxSize>>20)
	}
	v, err := ordjson.Parse(data)
	if err != nil {
		return nil, err
	}
	d := &decoder{}
	f := d.file(v)
	if err := d.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// decoder collects what is wrong.
type decoder struct{ problems.List }

// object returns v, which must have exactly the given fields; nil if it lacks
// any of them.
func (d *decoder) object(field string, v any, want ...string) *ordjson.Object {
	o, ok := v.(*ordjson.Object)
	if !ok {
		d.Addf("%s: expected an object", field)
		return nil
	}
	for _, m := range o.Members {
		if !slices.Contains(want, m.Key) {
			d.Addf("%s: unknown field %q", field, m.Key)
		}
	}
	whole := true
	for _, key := range want {
		if _, ok := o.Get(key); !ok {
			d.Addf("%s: field %q is missing", field, key)
			whole = false
		}
	}
	if !whole {
		return nil
	}
	return o
}

func (d *decoder) file(v any) *File {
	f := &File{Images: map[string]Image{}}
	top, ok := v.(*ordjson.Object)
	if !ok {
		d.Addf("expected an object")
		return f
	}
	fields := []string{"version", "layerFormat", "images"}
	switch version, _ := top.Get("version"); version {
	case json.Number("1"):
		f.LayerFormat, fields = 1, []string{"version", "images"}
	case json.Number(strconv.Itoa(Version)):
	default:
		d.Addf("version: it is %s, and this varve knows versions 1 and %d: remove the file and write it anew with varve lock SPEC", ocijson.Show(version), Version)
		return f
	}
	if top = d.object("the file", v, fields...); top == nil {
		return f
	}
	if format, ok := top.Get("layerFormat"); ok {
		f.LayerFormat = d.layerFormat(format)
	}
	images, _ := top.Get("images")
	list, ok := images.(*ordjson.Object)
	if !ok {
		d.Addf("images: expected an object")
		return f
	}
	for _, m := range list.Members {
		field := fmt.Sprintf("images.%q", m.Key)
		if key, err := Key(m.Key); err != nil || key != m.Key {
			d.Addf("%s: it is not a full reference such as docker.io/library/debian:12", field)
			continue
		}
		img := d.image(field, m.Value)
		d.pinned(field, m.Key, img.Descriptor.Digest)
		f.Images[m.Key] = img
	}
	return f
}

// layerFormat reads a version of the bytes of layers.
func (d *decoder) layerFormat(v any) int {
	for n := range newestLayers() {
		if v == json.Number(strconv.Itoa(n+1)) {
			return n + 1
		}
	}
	d.Addf("layerFormat: it is %s, and this varve knows versions 1 to %d", ocijson.Show(v), newestLayers())
	return 0
}

// pinned checks that the entry of a reference with a digest has that digest.
func (d *decoder) pinned(field, ref string, got digest.Digest) {
	named, _ := reference.ParseNormalizedNamed(ref) // it was read before
	digested, ok := named.(reference.Digested)
	if ok && got != "" && got != digested.Digest() {
		d.Addf("%s: its digest is %s, and the reference is for %s: remove the entry, and write it anew with varve lock SPEC", field, got, digested.Digest())
	}
}

func (d *decoder) image(field string, v any) (img Image) {
	o := d.object(field, v, "mediaType", "digest", "size", "platforms")
	if o == nil {
		return img
	}
	img.Descriptor = d.descriptor(field, o)
	img.Platforms = map[string]Manifest{}
	list, _ := o.Get("platforms")
	platforms, ok := list.(*ordjson.Object)
	if !ok || len(platforms.Members) == 0 {
		d.Addf("%s.platforms: expected an object with a platform at least", field)
		return img
	}
	for _, m := range platforms.Members {
		if _, err := ocijson.ParsePlatform(m.Key); err != nil {
			d.Addf("%s.platforms: %w", field, err)
			continue
		}
		img.Platforms[m.Key] = d.manifest(fmt.Sprintf("%s.platforms.%q", field, m.Key), m.Value)
	}
	d.root(field, img)
	return img
}

// root checks that an image is an index, or its own only platform.
func (d *decoder) root(field string, img Image) {
	switch {
	case ocijson.IsIndex(img.Descriptor.MediaType), img.Descriptor.Digest == "":
	case !ocijson.IsManifest(img.Descriptor.MediaType):
		d.Addf("%s.mediaType: %q is neither an index's nor a manifest's", field, img.Descriptor.MediaType)
	case len(img.Platforms) != 1:
		d.Addf("%s.platforms: a manifest has one platform, here are %d", field, len(img.Platforms))
	default:
		for name, m := range img.Platforms {
			if m.Descriptor.Digest != "" && !reflect.DeepEqual(m.Descriptor, img.Descriptor) {
				d.Addf("%s.platforms.%q: it differs from the image, which is this manifest", field, name)
			}
		}
	}
}

func (d *decoder) manifest(field string, v any) (m Manifest) {
	o := d.object(field, v, "mediaType", "digest", "size", "config", "layers")
	if o == nil {
		return m
	}
	m.Descriptor = d.descriptor(field, o)
	if m.Descriptor.Digest != "" && !ocijson.IsManifest(m.Descriptor.MediaType) {
		d.Addf("%s.mediaType: %q is not a manifest's", field, m.Descriptor.MediaType)
	}
	config, _ := o.Get("config")
	if c := d.object(field+".config", config, "mediaType", "digest", "size"); c != nil {
		m.Config = d.descriptor(field+".config", c)
	}
	v, _ = o.Get("layers")
	layers, ok := v.([]any)
	if !ok || len(layers) > ocijson.MaxDescriptors {
		d.Addf("%s.layers: expected a list of at most %d", field, ocijson.MaxDescriptors)
		return m
	}
	for i, l := range layers {
		at := fmt.Sprintf("%s.layers[%d]", field, i)
		if o := d.object(at, l, "mediaType", "digest", "size"); o != nil {
			m.Layers = append(m.Layers, d.descriptor(at, o))
		}
	}
	return m
}

// descriptor reads the fields of a descriptor; it leaves wrong ones empty.
func (d *decoder) descriptor(field string, o *ordjson.Object) v1.Descriptor {
	three := &ordjson.Object{}
	for _, key := range []string{"mediaType", "digest", "size"} {
		v, _ := o.Get(key)
		three.Set(key, v)
	}
	got, err := ocijson.ParseDescriptor(three)
	if err != nil {
		d.Addf("%s: %w", field, err)
		return v1.Descriptor{}
	}
	return got
}
