package image

import (
	"context"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// The annotations of layers in manifests. They depend on the image and the compressor alone.
const (
	// AnnotationKey is the layer's portable key, a digest: see KeyedLayer.
	AnnotationKey = "io.github.varve-image.key"
	// AnnotationCompressor says what made the blob of the layer's tar, as CompressorText returns
	// it: the same compressor makes the same bytes of the same tar. A blob that is the tar has none.
	AnnotationCompressor = "io.github.varve-image.compressor"
)

// CompressorText names a compressor in AnnotationCompressor; it is empty for one without a name.
func CompressorText(c Compressor) string {
	if name, ok := c.(fmt.Stringer); ok {
		return layer.CompressionVersion + " " + name.String()
	}
	return ""
}

// untold returns the descriptors of an image's layers without what the annotations above say of
// those that are passed on: whoever made these layers need not be trusted by those who name the
// new image as a cache.
func untold(img Image, descs []v1.Descriptor) []v1.Descriptor {
	descs = slices.Clone(descs)
	for i, l := range img.Layers() {
		stored, ok := l.(StoredLayer)
		if !ok || i >= len(descs) || descs[i].Digest != stored.Stored().Digest && descs[i].Digest != stored.TarDigest() {
			continue
		}
		descs[i].Annotations = maps.Clone(descs[i].Annotations)
		delete(descs[i].Annotations, AnnotationKey)
		delete(descs[i].Annotations, AnnotationCompressor)
	}
	return descs
}

// annotate adds to the descriptor of a layer that was made here what helps others not to make it
// again.
func (b *Blob) annotate(ctx context.Context, d *v1.Descriptor) error {
	if b.Stored.Digest != "" {
		return nil
	}
	all := map[string]string{}
	if text := CompressorText(b.compressor); text != "" && d.Digest != b.info.DiffID {
		all[AnnotationCompressor] = text
	}
	if l, ok := b.Layer.(KeyedLayer); ok {
		key, err := l.PortableKey(ctx)
		if err != nil {
			return err
		}
		if key != "" {
			all[AnnotationKey] = key.String()
		}
	}
	if len(all) > 0 {
		maps.Copy(all, d.Annotations)
		d.Annotations = all
	}
	return nil
}

// TarDescriptors describes the layers of an image as blobs that are their tars, in the layers'
// order. infos has their digests and sizes. If the manifest that the image has lists the same, its
// own descriptors are returned. Others have no AnnotationKey: an archive is no image for a cache, and
// a key may cost another pass over all files.
func TarDescriptors(img Image, infos []layer.Info) []v1.Descriptor {
	if stored, ok := unwrap(img).(*Stored); ok {
		_, had, err := ocijson.ParseManifest(stored.Manifest)
		same := func(d v1.Descriptor, info layer.Info) bool {
			return d.Digest == info.DiffID && d.Size == info.Size && d.MediaType == v1.MediaTypeImageLayer
		}
		if err == nil && slices.EqualFunc(had, infos, same) {
			return had
		}
	}
	descs := make([]v1.Descriptor, len(infos))
	for i, info := range infos {
		descs[i] = v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: info.DiffID, Size: info.Size}
	}
	return descs
}
