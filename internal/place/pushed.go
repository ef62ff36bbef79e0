package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/ocijson"
)

// Pushed is what images that were pushed before tell of their layers: manifests and configs, and
// no content. Whoever opens it trusts those who made the images.
type Pushed struct {
	// diffIDs are the layers by portable key.
	diffIDs map[digest.Digest]digest.Digest
	// blobs describe compressed layers, by diffID and compressor.
	blobs map[string]v1.Descriptor
	// repositories have the blobs: HOST/NAME.
	repositories []string
}

// OpenPushed reads the images that references name; of an image for several platforms it reads
// all. A reference that cannot be one is an error. An image that cannot be read, for it may not
// have been pushed yet, tells nothing: the options' Warn says so.
func OpenPushed(ctx context.Context, refs []string, opts Options) (*Pushed, error) {
	p := &Pushed{diffIDs: map[digest.Digest]digest.Digest{}, blobs: map[string]v1.Descriptor{}}
	for _, ref := range refs {
		if ref == "" {
			return nil, refError("the name of a cache image is missing")
		}
		if _, err := ParseSource(ref); err != nil {
			return nil, err
		}
		if err := p.read(ctx, ref, opts); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		} else if err != nil {
			opts.warn("nothing is taken from the cache image %q: %v", ref, hinted(ref, err))
		}
	}
	return p, nil
}

func (p *Pushed) read(ctx context.Context, ref string, opts Options) error {
	found, err := OpenPlatforms(ctx, ref, opts)
	if err != nil {
		return err
	}
	defer found.Close()
	for _, img := range found.List {
		if err := p.add(img.Stored); err != nil {
			return err
		}
		for _, l := range img.StoredLayers() {
			if r, ok := l.(image.RepositoryLayer); ok && r.Origin() != "" {
				p.repositories = append(p.repositories, r.Origin())
			}
		}
	}
	opts.debug("%s: %d layers with keys, %d compressed ones", ref, len(p.diffIDs), len(p.blobs))
	return nil
}

// hinted adds to the error of an image that is not there how an image of a registry is written.
func hinted(ref string, err error) error {
	if hints := Hints(ref); errors.Is(err, fs.ErrNotExist) && len(hints) > 0 {
		return fmt.Errorf("%w (%s)", err, hints[0])
	}
	return err
}

// add takes in what the manifest and the config of an image say.
func (p *Pushed) add(img *image.Stored) error {
	_, layers, err := ocijson.ParseManifest(img.Manifest)
	if err != nil {
		return err
	}
	if len(layers) != len(img.DiffIDs) {
		return fmt.Errorf("its manifest has %d layers and its config %d", len(layers), len(img.DiffIDs))
	}
	for i, l := range layers {
		id := img.DiffIDs[i]
		if id.Algorithm() != digest.SHA256 || l.Digest.Algorithm() != digest.SHA256 || len(l.URLs) > 0 {
			continue // none of ours
		}
		key := digest.Digest(l.Annotations[image.AnnotationKey])
		if _, known := p.diffIDs[key]; key.Validate() == nil && !known {
			p.diffIDs[key] = id
		}
		text := l.Annotations[image.AnnotationCompressor]
		if _, known := p.blobs[blobKey(id, text)]; text != "" && !known {
			p.blobs[blobKey(id, text)] = v1.Descriptor{Digest: l.Digest, Size: l.Size}
		}
	}
	return nil
}

func blobKey(diffID digest.Digest, compressor string) string {
	return diffID.String() + " " + compressor
}

// Layer returns the diffID of the layer with a portable key (layer.Options.Pushed).
func (p *Pushed) Layer(portable digest.Digest) (digest.Digest, bool) {
	id, ok := p.diffIDs[portable]
	return id, ok
}

// in returns the repositories that have the blobs in the registry of a reference, without its
// name.
func (p *Pushed) in(ref string) []string {
	if p == nil {
		return nil
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil // connecting will report it
	}
	var list []string
	for _, r := range p.repositories {
		if name, ok := strings.CutPrefix(r, reference.Domain(named)+"/"); ok {
			list = append(list, name)
		}
	}
	return list
}

// remembered is what this machine remembers, and then what images tell.
type remembered struct {
	*memo.Memo
	pushed *Pushed
}

// Blob returns the digest and size of what a compressor makes of a tar.
func (r remembered) Blob(diffID digest.Digest, compressor string) (v1.Descriptor, bool) {
	if d, ok := r.Memo.Blob(diffID, compressor); ok || r.pushed == nil {
		return d, ok
	}
	d, ok := r.pushed.blobs[blobKey(diffID, compressor)]
	return d, ok
}
