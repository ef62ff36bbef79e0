// Package lockfile reads and writes varve.lock, which says what the reference of each base image
// stands for.
//
// Guarantees:
//
//   - Of each image it has the digest of the index or manifest that the reference named in its
//     registry, and for each platform the digests, sizes and media types of the manifest, the
//     config and the layers.
//
//   - What is written depends on the contents alone: keys are sorted, with one value per line.
//
//   - Reading is strict: no unknown, missing or repeated field, references and platforms only in
//     the form that is written, valid digests, and for a reference with a digest that digest.
//     Everything that is wrong is reported at once, with its field.
//
//   - Nothing in it is trusted: what it says of an image can be compared, down to sizes, with
//     what was found by the pinned digest.
//
//   - A file of version 1, which says nothing of layers, is read as one of version 2 with layers of
//     format 1, which there was then.
//
// Non-goals: asking registries; files of later versions than Version.
package lockfile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// Name is the name of the file, beside the specs that it is for.
const Name = "varve.lock"

// Version is the version of the format.
const Version = 2

// File is the content of a varve.lock. The zero value has nothing in it.
type File struct {
	// LayerFormat is the version of the bytes of layers that the specs get which name none; 0 is
	// written as the newest, layer.FormatVersion.
	LayerFormat int
	// Images are what is pinned, by their references, in the form of Key.
	Images map[string]Image
}

// Image describes what a reference stood for when it was looked up.
type Image struct {
	// Descriptor describes the index, or the manifest where there is no index. It has a media
	// type, a digest and a size, as all descriptors here.
	Descriptor v1.Descriptor
	// Platforms are the images in it, by OS/ARCH[/VARIANT].
	Platforms map[string]Manifest
}

// Manifest describes an image for one platform.
type Manifest struct {
	Descriptor, Config v1.Descriptor
	Layers             []v1.Descriptor
}

// Key returns a reference as the file writes it: with its registry, and with the tag latest
// where it has neither tag nor digest.
func Key(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("image reference %q: %w", ref, err)
	}
	return reference.TagNameOnly(named).String(), nil
}

// Chosen is what the file says of the image that a build uses.
type Chosen struct {
	// Root is the descriptor of the Image, Platform the name of the platform.
	Root     v1.Descriptor
	Platform string
	Manifest
}

// Choose returns the image for a platform: see ocijson.Choose.
func (i Image) Choose(want v1.Platform) (*Chosen, error) {
	var list []v1.Descriptor
	names := slices.Sorted(maps.Keys(i.Platforms))
	for _, name := range names {
		p, err := ocijson.ParsePlatform(name)
		if err != nil {
			return nil, err
		}
		d := i.Platforms[name].Descriptor
		d.Platform = &p
		list = append(list, d)
	}
	n, err := ocijson.Choose(list, want)
	if err != nil {
		return nil, err
	}
	return &Chosen{i.Descriptor, names[n], i.Platforms[names[n]]}, nil
}

// Marshal writes the file.
func (f *File) Marshal() ([]byte, error) {
	images := &ordjson.Object{}
	for _, ref := range slices.Sorted(maps.Keys(f.Images)) {
		images.Set(ref, f.Images[ref].object())
	}
	data, err := ordjson.Marshal(&ordjson.Object{Members: []ordjson.Member{
		{Key: "version", Value: json.Number(strconv.Itoa(Version))},
		{Key: "layerFormat", Value: json.Number(strconv.Itoa(cmp.Or(f.LayerFormat, newestLayers())))},
		{Key: "images", Value: images},
	}})
	return append(data, '\n'), err
}

// newestLayers is layer.FormatVersion as a number.
func newestLayers() int {
	n, _ := strconv.Atoi(layer.FormatVersion)
	return n
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

// descriptor returns an object of a descriptor's three fields.
func descriptor(d v1.Descriptor) *ordjson.Object {
	return ocijson.Descriptor(v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
}

// trimmed returns a descriptor with only the fields that the file has.
func trimmed(d v1.Descriptor) v1.Descriptor {
	return v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// NewImage describes what a reference stands for, by its descriptor and the
// manifests of its images, which have a platform each.
func NewImage(d v1.Descriptor) Image {
	return Image{Descriptor: trimmed(d), Platforms: map[string]Manifest{}}
}

// NewManifest describes an image by its manifest, which d describes.
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

// NewChosen describes an image that was found: root is what was pinned, an index or the manifest
// itself, platform the name of its platform.
func NewChosen(root v1.Descriptor, platform string, manifest v1.Descriptor, data []byte) (*Chosen, error) {
	m, err := NewManifest(manifest, data)
	return &Chosen{trimmed(root), platform, m}, err
}

// MismatchError says that the file contradicts an image which was found by the pinned digest:
// somebody has changed the file. It may wrap a *layer.DigestError.
type MismatchError struct{ Err error }

func (e *MismatchError) Error() string { return e.Err.Error() }

func (e *MismatchError) Unwrap() error { return e.Err }

// Is reports whether target is layer.ErrMismatch.
func (e *MismatchError) Is(target error) bool { return target == layer.ErrMismatch }

// Check compares what the file says of the image for a platform with what was
// found for it. A difference is a *MismatchError.
func (i Image) Check(found *Chosen) error {
	m, ok := i.Platforms[found.Platform]
	if !ok {
		return &MismatchError{fmt.Errorf("the image is for %s, for which %s has none", found.Platform, Name)}
	}
	return (&Chosen{i.Descriptor, found.Platform, m}).Check(found)
}

// Check compares what the file says of an image with what was found. A
// difference is a *MismatchError.
func (c *Chosen) Check(found *Chosen) error {
	if err := c.compare(found); err != nil {
		return &MismatchError{err}
	}
	return nil
}

func (c *Chosen) compare(found *Chosen) error {
	if err := same("image", c.Root, found.Root); err != nil {
		return err
	}
	if err := same("manifest for "+c.Platform, c.Descriptor, found.Descriptor); err != nil {
		return err
	}
	if c.Platform != found.Platform {
		return fmt.Errorf("manifest %s is for %s, and by %s for %s", found.Descriptor.Digest, found.Platform, Name, c.Platform)
	}
	if err := same("config of the manifest", c.Config, found.Config); err != nil {
		return err
	}
	if len(c.Layers) != len(found.Layers) {
		return fmt.Errorf("%s has %d layers for manifest %s, which has %d", Name, len(c.Layers), c.Descriptor.Digest, len(found.Layers))
	}
	for i, l := range c.Layers {
		if err := same(fmt.Sprintf("layer %d of the manifest", i+1), l, found.Layers[i]); err != nil {
			return err
		}
	}
	return nil
}

func same(what string, want, got v1.Descriptor) error {
	what += ", by " + Name
	switch {
	case want.Digest != got.Digest:
		return &layer.DigestError{What: what, Want: want.Digest, Got: got.Digest}
	case want.Size != got.Size || want.MediaType != got.MediaType:
		return fmt.Errorf("%s: %s is %d bytes of %q, expected %d bytes of %q", what, got.Digest, got.Size, got.MediaType, want.Size, want.MediaType)
	}
	return nil
}
