package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
)

// Copy writes the images that a reference names to a destination, under the names that they had:
// the one with a name, or all of a place. Of an image for several platforms it copies the wanted
// one.
func Copy(ctx context.Context, ref string, d Destination, opts Options) ([]Sent, error) {
	found, err := place.OpenImages(ctx, ref, opts.Wanted, opts.Places)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	if len(found.List) > 1 && d.IsNamed() {
		return nil, found.Several(ref)
	}
	return copyImages(ctx, found, ref, d, opts)
}

func copyImages(ctx context.Context, found *place.Images, ref string, d Destination, opts Options) ([]Sent, error) {
	for _, img := range found.List {
		opts.Places.WarnOdd(ref, img.Stored)
	}
	sent, err := Write(ctx, d, found.Named(), opts)
	var collision *image.CollisionError
	switch {
	case errors.As(err, &collision):
		return sent, found.Several(ref)
	case err != nil:
		return sent, fmt.Errorf("copy %s to %q: %w", place.Quote(ref), d.String(), err)
	}
	return sent, nil
}

// CopyAll copies what a reference names with the images for all platforms: between registries
// byte for byte, with whatever else an index lists; elsewhere it warns of the rest. It copies an
// image by itself as Copy does.
func CopyAll(ctx context.Context, ref string, d Destination, opts Options) ([]Sent, error) {
	if from, ok := strings.CutPrefix(ref, "docker://"); ok && d.Transport == place.Registry {
		return copyBetween(ctx, from, d.Name, opts)
	}
	found, err := place.OpenPlatforms(ctx, ref, opts.Places)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	raw, err := found.Document(ref)
	switch isIndex := found.List[0].Index() != ""; {
	case err != nil:
		return nil, err
	case !isIndex && len(found.List) > 1:
		return nil, found.Several(ref)
	case !isIndex:
		return copyImages(ctx, found, ref, d, opts)
	}
	if err := d.CheckIndex(); err != nil {
		return nil, err
	}
	x := &image.Index{Raw: raw}
	if x.Annotations, err = ocijson.Annotations(raw); err != nil {
		return nil, fmt.Errorf("read %s: %w", place.Quote(ref), err)
	}
	var names []string
	for _, img := range found.List {
		opts.Places.WarnOdd(ref, img.Stored)
		x.Images = append(x.Images, img.Stored)
		names = append(names, img.Names...)
	}
	if n := countOthers(raw); n > 0 {
		opts.warn("%s: left out is what the index lists besides images: %s of attestations or other things", place.Quote(ref), human.Count(n, "manifest"))
	}
	x.Names = (&place.Image{Names: names}).Named(found.Asked).Names
	sent, err := WriteIndex(ctx, d, x, opts)
	if err != nil {
		return nil, err
	}
	return []Sent{sent}, nil
}

// countOthers returns how many manifests an index lists that are not images.
func countOthers(raw []byte) int {
	_, listed, err := ocijson.ParseIndex(raw)
	if err != nil {
		return 0 // writing it reports that
	}
	return len(slices.DeleteFunc(listed, func(d v1.Descriptor) bool {
		return ocijson.IsIndex(d.MediaType) || !ocijson.IsAttestation(d) && ocijson.IsManifest(d.MediaType)
	}))
}

// copyBetween copies what a reference stands for from registry to registry.
func copyBetween(ctx context.Context, from, to string, opts Options) ([]Sent, error) {
	registryOpts, err := opts.Places.RegistryOptions(from)
	if err != nil {
		return nil, err
	}
	r, err := registry.Resolve(ctx, from, registryOpts)
	if err != nil {
		return nil, err
	}
	if image.Tag(to) == "" && r.Tag != "" {
		to += ":" + r.Tag
	}
	ctx = tally.With(ctx)
	observe, done := opts.progress(ctx, 0, "copying "+r.Name)
	defer done()
	registryOpts.Observe = observe
	d, err := registry.Copy(ctx, r, to, registry.PushOptions{
		Options:  registryOpts,
		Warn:     func(err error) { opts.warn("%s: %v", place.Quote(from), err) },
		Verified: opts.Places.StoredMemo(ctx),
		Budget:   func() *layer.Budget { return image.NewBudget(opts.Places.MaxUnpacked, opts.Places.MaxEntries) },
	})
	if err != nil {
		return nil, err
	}
	return []Sent{{Written: image.Written{Names: []string{to}, Manifest: d}, Target: "docker://" + to}}, nil
}
