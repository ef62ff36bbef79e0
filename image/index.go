package image

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
)

// Index is one image for several platforms.
type Index struct {
	// Images are the images for the platforms, in their order.
	Images []Image
	// Names are the index's. A missing tag is made of the ids of all images.
	Names
	// Annotations are the index's.
	Annotations map[string]string
	// Raw holds the stored bytes of an index that is passed on. They are kept where they list
	// what is written.
	Raw []byte
}

// Tagged returns the names of the index, each of RepoTags with a tag.
func (x *Index) Tagged(ctx context.Context) (Names, error) {
	return x.tagged(func() ([]byte, error) {
		var ids bytes.Buffer
		for _, img := range x.Images {
			id, err := ID(ctx, img)
			if err != nil {
				return nil, err
			}
			fmt.Fprintln(&ids, id)
		}
		return ids.Bytes(), nil
	})
}

// Document returns the index (OCI image-spec, image-index.md). manifests describe the images as
// they were written. An index that is passed on is kept, byte for byte, if it lists these. In
// any other index each manifest has a platform of its own.
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

// CountLayers returns how many layers images have together.
func CountLayers[I Image](images []I) int {
	n := 0
	for _, img := range images {
		n += len(img.Layers())
	}
	return n
}

// Observe returns an observer for the layers of the image with the number i, from 0. It reports
// them to observe as layers of all images.
func Observe[I Image](images []I, i int, observe func(Event)) func(Event) {
	if observe == nil {
		return nil
	}
	before, all := CountLayers(images[:i]), CountLayers(images)
	return func(e Event) {
		e.Layer += before
		e.Layers = all
		observe(e)
	}
}
