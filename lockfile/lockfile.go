// Package lockfile reads and writes varve.lock, which says for each image that
// specs build on what its reference stands for.
//
// Guarantees:
//
//   - Of each image it has the digest that the reference had in its registry,
//     that of an index or a manifest, and for each platform the digests, sizes
//     and media types of the manifest, of the config and of the layers.
//   - What is written depends on the contents alone: keys are sorted, one value
//     stands on a line.
//   - Reading is strict: no unknown, missing or repeated field, a reference and
//     a platform in the one form that is written, digests of legal form.
//     Everything that is wrong is reported at once, with its field.
//
// Non-goals: asking registries; files of other versions than Version.
package lockfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/ordjson"
	"github.com/varve-image/varve/layer"
)

// Name is what the file is called, beside the specs that it is for.
const Name = "varve.lock"

// Version is the version of the format.
const Version = 1

// File is the content of a varve.lock: images by their references, in the form
// of Key. The zero value has none.
type File struct {
	Images map[string]Image
}

// Image is what a reference stood for when it was looked up.
type Image struct {
	// Descriptor is that of the index, or of the manifest where there is none.
	// It has a media type, a digest and a size, as all descriptors here.
	Descriptor v1.Descriptor
	// Platforms are the images in it, by OS/ARCH[/VARIANT].
	Platforms map[string]Manifest
}

// Manifest is an image for one platform.
type Manifest struct {
	Descriptor, Config v1.Descriptor
	Layers             []v1.Descriptor
}

// Key returns the form in which a reference stands in the file: with its
// registry, and with the tag latest where it has neither tag nor digest.
func Key(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("image reference %q: %w", ref, err)
	}
	return reference.TagNameOnly(named).String(), nil
}

// Choose returns the image for a platform: see ocijson.Choose.
func (i Image) Choose(want v1.Platform) (Manifest, error) {
	var list []v1.Descriptor
	names := slices.Sorted(maps.Keys(i.Platforms))
	for _, name := range names {
		p, err := ocijson.ParsePlatform(name)
		if err != nil {
			return Manifest{}, err
		}
		d := i.Platforms[name].Descriptor
		d.Platform = &p
		list = append(list, d)
	}
	d, err := ocijson.Choose(list, want)
	if err != nil {
		return Manifest{}, err
	}
	return i.Platforms[ocijson.PlatformText(d.Platform)], nil
}

// Marshal writes the file.
func (f *File) Marshal() ([]byte, error) {
	images := &ordjson.Object{}
	for _, ref := range slices.Sorted(maps.Keys(f.Images)) {
		images.Set(ref, f.Images[ref].object())
	}
	data, err := ordjson.Marshal(&ordjson.Object{Members: []ordjson.Member{
		{Key: "version", Value: json.Number(strconv.Itoa(Version))},
		{Key: "images", Value: images},
	}})
	return append(data, '\n'), err
}

func (i Image) object() *ordjson.Object {
	platforms := &ordjson.Object{}
	for _, name := range slices.Sorted(maps.Keys(i.Platforms)) {
		m := i.Platforms[name]
		layers := make([]any, len(m.Layers))
		for n, l := range m.Layers {
			layers[n] = descriptor(l)
		}
		o := descriptor(m.Descriptor)
		o.Set("config", descriptor(m.Config))
		o.Set("layers", layers)
		platforms.Set(name, o)
	}
	o := descriptor(i.Descriptor)
	o.Set("platforms", platforms)
	return o
}

// descriptor is a descriptor's three fields.
func descriptor(d v1.Descriptor) *ordjson.Object {
	return ocijson.Descriptor(v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
}

// trimmed is a descriptor with the fields that the file has.
func trimmed(d v1.Descriptor) v1.Descriptor {
	return v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// NewImage describes what a reference stands for, by its descriptor and the
// manifests of its images, which have a platform each.
func NewImage(d v1.Descriptor) Image {
	return Image{Descriptor: trimmed(d), Platforms: map[string]Manifest{}}
}

// NewManifest describes an image by its manifest, which d is about.
func NewManifest(d v1.Descriptor, data []byte) (Manifest, error) {
	config, layers, err := ocijson.ParseManifest(data)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	m := Manifest{Descriptor: trimmed(d), Config: trimmed(config)}
	for _, l := range layers {
		m.Layers = append(m.Layers, trimmed(l))
	}
	return m, nil
}

// Check compares a manifest, whose bytes are those of m's digest, with what the
// file says of its config and layers. A difference is a *layer.DigestError: the
// file was changed by hand.
func (m Manifest) Check(data []byte) error {
	is, err := NewManifest(m.Descriptor, data)
	if err != nil {
		return err
	}
	if err := same("config", m.Config, is.Config); err != nil {
		return err
	}
	if len(m.Layers) != len(is.Layers) {
		return fmt.Errorf("%s has %d layers for manifest %s, which has %d", Name, len(m.Layers), m.Descriptor.Digest, len(is.Layers))
	}
	for i, l := range m.Layers {
		if err := same(fmt.Sprintf("layer %d", i+1), l, is.Layers[i]); err != nil {
			return err
		}
	}
	return nil
}

func same(what string, want, got v1.Descriptor) error {
	switch {
	case want.Digest != got.Digest:
		return &layer.DigestError{What: what + " of the manifest, by " + Name, Want: want.Digest, Got: got.Digest}
	case want.Size != got.Size || want.MediaType != got.MediaType:
		return fmt.Errorf("%s: %s is %d bytes of %q, and by %s %d bytes of %q", what, got.Digest, got.Size, got.MediaType, Name, want.Size, want.MediaType)
	}
	return nil
}
