package hybrid

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/tarindex"
	"github.com/varve-image/varve/layer"
)

// archive is an open archive with two halves. The one for docker load has one image for each
// name; the layout has those for other platforms, as far as the writer had them.
type archive struct {
	docker *dockerarchive.Archive
	oci    *ocilayout.Layout
	list   []image.Listed
	// from says where each image of list is: its number in oci, or in docker.
	from []half
}

type half struct {
	source image.Source
	number int
}

// maxImages limits how many images the halves may have to be compared.
const maxImages = 100

// Open opens an archive that has a manifest.json, with or without a layout, and which Close
// closes. A layout that cannot be read is ignored, as docker load ignores it. An archive whose
// halves contradict each other is a *ContradictionError.
func Open(ctx context.Context, name string, t *tarindex.Archive) (image.Source, error) {
	docker, err := dockerarchive.FromTar(name, t)
	if err != nil {
		return nil, err
	}
	if !t.Has(v1.ImageLayoutFile) {
		return docker, nil
	}
	oci, err := ocilayout.FromTar(ctx, name, t)
	if err != nil || len(oci.List()) > maxImages || len(docker.List()) > maxImages {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return docker, nil // docker load reads it the same way
	}
	c := &comparison{ociList: oci.List(), dockerList: docker.List()}
	for i := range c.dockerList {
		c.dockerIDs = append(c.dockerIDs, dockerID(ctx, docker, i))
	}
	for _, l := range c.ociList {
		m := readManifest(ctx, oci, l.Descriptor)
		c.ociIDs, c.whole = append(c.ociIDs, m.id), append(c.whole, m.whole(t))
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := c.contradiction(); err != nil {
		return nil, fmt.Errorf("read archive %q: %w", name, err)
	}
	a := &archive{docker: docker, oci: oci}
	a.merge(c)
	return a, nil
}

// dockerID returns the id of an image of manifest.json, or "" if it cannot be read.
func dockerID(ctx context.Context, docker *dockerarchive.Archive, i int) digest.Digest {
	img, err := docker.Open(ctx, i)
	if err != nil {
		return ""
	}
	return digest.FromBytes(img.ConfigJSON)
}

// manifest is what is known of an image of the layout.
type manifest struct {
	id     digest.Digest // SHA-256 of the config, "" if that cannot be read
	layers []v1.Descriptor
}

func readManifest(ctx context.Context, oci *ocilayout.Layout, d v1.Descriptor) (m manifest) {
	data, err := oci.Document(ctx, d)
	if err != nil {
		return m
	}
	config, layers, err := ocijson.ParseManifest(data)
	if err != nil {
		return m
	}
	if data, err = oci.Document(ctx, config); err != nil {
		return m
	}
	return manifest{digest.FromBytes(data), layers}
}

// whole reports whether the archive has all layers.
func (m manifest) whole(t *tarindex.Archive) bool {
	for _, l := range m.layers {
		if !t.Has(ocilayout.BlobPath(l.Digest)) {
			return false
		}
	}
	return true
}

// merge lists what both halves have: an image by itself under the names of manifest.json, and the
// images of indexes as in the layout.
func (a *archive) merge(c *comparison) {
	numbers := map[digest.Digest]int{} // of images of docker
	for i, id := range c.dockerIDs {
		if id != "" {
			numbers[id] = i
		}
	}
	alone := map[int]int{}                  // images of docker, and which of oci each is
	indexed := map[int]bool{}               // images of docker that are in an index
	names := map[digest.Digest][]string{}   // of indexes
	covered := make([]bool, len(c.ociList)) // by an image of docker
	for n, l := range c.ociList {
		i, ok := numbers[c.ociIDs[n]]
		switch {
		case l.Index != "":
			names[l.Index] = append(names[l.Index], l.Names...)
			if ok {
				indexed[i] = true
				names[l.Index] = append(names[l.Index], c.dockerList[i].Names...)
			}
		case ok:
			alone[i], covered[n] = n, true
		}
	}
	for i, l := range c.dockerList {
		switch n, ok := alone[i]; {
		case ok && c.whole[n]:
			l.Descriptor = c.ociList[n].Descriptor
			a.add(l, a.oci, n)
		case ok:
			l.Descriptor = c.ociList[n].Descriptor
			a.add(l, a.docker, i)
		case !indexed[i]:
			a.add(l, a.docker, i)
		}
	}
	for n, l := range c.ociList {
		if l.Index != "" {
			kept := image.NamesFor(names[l.Index], "")
			l.Names = append(kept.RepoTags, kept.RefNames...)
		}
		if !covered[n] && !c.absent(n) {
			a.add(l, a.oci, n)
		}
	}
}

func (a *archive) add(l image.Listed, src image.Source, number int) {
	a.list = append(a.list, l)
	a.from = append(a.from, half{src, number})
}

func (a *archive) String() string       { return a.docker.String() }
func (a *archive) List() []image.Listed { return a.list }
func (a *archive) Close() error         { return a.docker.Close() } // both halves are in one file

// Open opens an image from the half that has it.
func (a *archive) Open(ctx context.Context, i int) (*image.Stored, error) {
	img, err := a.from[i].source.Open(ctx, a.from[i].number)
	if err == nil {
		err = unpacked(img)
	}
	if err != nil {
		return nil, err
	}
	return img, nil
}

// unpacked makes the layers that are not compressed layers without a descriptor: it is docker load
// for which they are not, and other places get them as they have layers. A new manifest gets the
// annotations of the one that lists them.
func unpacked(img *image.Stored) (err error) {
	for _, l := range img.StoredLayers() {
		var b *layer.Blob
		switch l := l.(type) {
		case *layer.Blob:
			b = l
		case *dockerarchive.Layer:
			b = &l.Blob
		default:
			continue
		}
		if b.Descriptor.Digest == b.DiffID && len(b.Descriptor.URLs) == 0 {
			b.Descriptor = v1.Descriptor{}
		}
	}
	img.Annotations, err = ocijson.Annotations(img.Manifest)
	return err
}
