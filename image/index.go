package image

import (
	"context"
	"crypto/sha256"
	"slices"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
)

// Index is one image for several platforms.
type Index struct {
	// Images are those for the platforms, in their order. Their own names do not
	// matter.
	Images []*Image
	// Repository and Tag are its name. An empty tag is made of the ids of all
	// images.
	Repository, Tag string
	// MoreNames are further names, each NAME:TAG; RefNames are as an Image's.
	MoreNames, RefNames []string
	// Annotations are the index's.
	Annotations map[string]string
	// Raw is the index of one that is passed on, which is kept where it lists
	// what is written.
	Raw []byte
}

// RepoTag returns the index's full name, as Image.RepoTag does an image's.
func (x *Index) RepoTag(ctx context.Context) (string, error) {
	if x.Tag != "" {
		return x.Repository + ":" + x.Tag, nil
	}
	hash := sha256.New()
	for _, img := range x.Images {
		id, err := img.ID(ctx)
		if err != nil {
			return "", err
		}
		hash.Write([]byte(id.String() + "\n"))
	}
	return x.Repository + ":" + tagEncoding.EncodeToString(hash.Sum(nil)[:20]), nil
}

// RepoTags returns all names of the index, which may be none.
func (x *Index) RepoTags(ctx context.Context) ([]string, error) {
	if x.Repository == "" {
		return nil, nil
	}
	name, err := x.RepoTag(ctx)
	return append([]string{name}, x.MoreNames...), err
}

// References are all names of the index, as engines spell them out.
func (x *Index) References(ctx context.Context) ([]reference.NamedTagged, error) {
	names, err := x.RepoTags(ctx)
	if err != nil {
		return nil, err
	}
	return parseRepoTags(names)
}

// Document returns the index (OCI image-spec, image-index.md). manifests are those of the
// images as they were written. An index that is passed on is kept, byte for byte, if it
// lists these. In any other each has a platform that no other has.
func (x *Index) Document(manifests []v1.Descriptor) (Document, error) {
	if _, listed, err := ocijson.ParseIndex(x.Raw); x.Raw != nil && err == nil {
		same := func(a, b v1.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size }
		if slices.EqualFunc(listed, manifests, same) {
			mediaType, err := ocijson.MediaType(x.Raw)
			return NewDocument(mediaType, x.Raw), err
		}
	}
	if x.Raw == nil { // what is passed on is as it is: the first that matches counts
		if err := ocijson.CheckPlatforms(manifests); err != nil {
			return Document{}, err
		}
	}
	data, err := ocijson.Index(manifests, x.Annotations)
	if err != nil {
		return Document{}, err
	}
	doc := NewDocument(v1.MediaTypeImageIndex, data)
	return doc, doc.check("index")
}

// Layers is how many layers all images have together.
func (x *Index) Layers() int {
	n := 0
	for _, img := range x.Images {
		n += len(img.Layers)
	}
	return n
}

// Observe makes an observer of the layers of the image with the number i, from
// 0, that tells another one of them as layers of all images.
func (x *Index) Observe(i int, observe func(Event)) func(Event) {
	if observe == nil {
		return nil
	}
	before := (&Index{Images: x.Images[:i]}).Layers()
	return func(e Event) {
		e.Layer += before
		e.Layers = x.Layers()
		observe(e)
	}
}
