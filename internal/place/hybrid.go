package place

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/tarindex"
)

// hybrid is a docker-archive that is an OCI layout as well, as Docker since version 25 and
// containerd write them. The half for docker load has one image for each name; the layout has
// those for other platforms, as far as the writer had them.
type hybrid struct {
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

// openDockerArchive opens a docker-archive, together with a layout in it.
func openDockerArchive(ctx context.Context, name string, t *tarindex.Archive) (image.Source, error) {
	docker, err := dockerarchive.FromTar(name, t)
	if err != nil || !t.Has("oci-layout") {
		return asSource(docker, err)
	}
	oci, err := ocilayout.FromTar(ctx, name, t)
	if err != nil || len(oci.List()) > maxHybrid || len(docker.List()) > maxHybrid {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return docker, nil // docker load reads it the same way
	}
	return newHybrid(ctx, docker, oci), nil
}

// maxHybrid limits how many images the halves may have to be compared.
const maxHybrid = 100

// newHybrid lists what both halves have: an image by itself as in manifest.json, and the images
// of indexes as in the layout.
func newHybrid(ctx context.Context, docker *dockerarchive.Archive, oci *ocilayout.Layout) *hybrid {
	h := &hybrid{docker: docker, oci: oci}
	configs := map[digest.Digest]int{} // of docker
	for i := range docker.List() {
		img, err := docker.Open(ctx, i)
		if err == nil {
			configs[digest.FromBytes(img.ConfigJSON)] = i
		}
	}
	dockerList, ociList := docker.List(), oci.List()
	manifests := map[int]v1.Descriptor{}  // of images of docker that stand alone
	indexed := map[int]bool{}             // images of docker that are in an index
	names := map[digest.Digest][]string{} // of indexes
	covered := make([]bool, len(ociList)) // by an image of docker
	for n, l := range ociList {
		i, ok := configs[configOf(ctx, oci, l.Descriptor)]
		switch {
		case l.Index != "":
			names[l.Index] = append(names[l.Index], l.Names...)
			if ok {
				indexed[i] = true
				names[l.Index] = append(names[l.Index], dockerList[i].Names...)
			}
		case ok:
			manifests[i], covered[n] = l.Descriptor, true
		}
	}
	for i, l := range dockerList {
		if _, alone := manifests[i]; alone || !indexed[i] {
			l.Descriptor = manifests[i]
			h.add(l, docker, i)
		}
	}
	for n, l := range ociList {
		if l.Index != "" {
			kept := image.NamesFor(names[l.Index], "")
			l.Names = append(kept.RepoTags, kept.RefNames...)
		}
		if !covered[n] {
			h.add(l, oci, n)
		}
	}
	return h
}

func (h *hybrid) add(l image.Listed, src image.Source, number int) {
	h.list = append(h.list, l)
	h.from = append(h.from, half{src, number})
}

// configOf returns the digest of a manifest's config, or "" if the manifest is not there.
func configOf(ctx context.Context, oci *ocilayout.Layout, manifest v1.Descriptor) digest.Digest {
	data, err := oci.Document(ctx, manifest)
	if err != nil {
		return ""
	}
	config, _, err := ocijson.ParseManifest(data)
	if err != nil {
		return ""
	}
	return config.Digest
}

func (h *hybrid) String() string       { return h.docker.String() }
func (h *hybrid) List() []image.Listed { return h.list }
func (h *hybrid) Close() error         { return h.docker.Close() } // both halves are in one file

// Open opens an image from the half that has it.
func (h *hybrid) Open(ctx context.Context, i int) (*image.Stored, error) {
	return h.from[i].source.Open(ctx, h.from[i].number)
}
