package hybrid

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/layer"
)

// Options are the options of Write and WriteIndex.
type Options struct {
	// TempDir is where layers that are stored compressed are unpacked, a few at a time and
	// without a name; it defaults to the system's directory for such files.
	TempDir string
	// Omit, where it is set, reports whether a layer is left out, though both halves list it: who
	// reads the archive has it.
	Omit func(diffID digest.Digest) bool
	// Observe, where it is set, is called for each layer.
	Observe func(image.Event)
}

// Write writes images to w as one archive, and returns what is there of each. Their names are
// NAME:TAG each: an archive has no others. What images have in common is written once.
//
// After an error, what was written to w is of no use.
func Write(ctx context.Context, w io.Writer, images []image.Named, opts Options) ([]image.Written, error) {
	named := make([]image.Named, len(images))
	for i, img := range images {
		named[i] = image.Named{Image: img.Image, Names: image.Names{RepoTags: img.RepoTags}}
	}
	l := &layout{Documents: ocilayout.NewDocuments(named, ocilayout.Options{}), written: make([]image.Written, len(images))}
	return l.written, l.write(ctx, w, opts)
}

// WriteIndex is Write for an index with its images. manifest.json has the first image, under the
// index's names: docker load knows no indexes.
func WriteIndex(ctx context.Context, w io.Writer, x *image.Index, opts Options) (image.Written, error) {
	index := &image.Index{Images: x.Images, Names: image.Names{RepoTags: x.RepoTags}, Annotations: x.Annotations, Raw: x.Raw}
	l := &layout{Documents: ocilayout.NewIndexDocuments(index, ocilayout.Options{}), index: index, written: make([]image.Written, len(x.Images))}
	err := l.write(ctx, w, opts)
	return l.top, err
}

// layout makes the documents of both halves.
type layout struct {
	*ocilayout.Documents
	index *image.Index // nil for images by themselves
	// written describes the images, and top the index.
	written []image.Written
	top     image.Written
}

func (l *layout) write(ctx context.Context, w io.Writer, opts Options) error {
	err := dockerarchive.WriteAll(ctx, w, l.Images(), dockerarchive.Options{
		TempDir: opts.TempDir, Layout: l, Omit: opts.Omit, Observe: opts.Observe,
	})
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// Image returns the config and the manifest of an image. Both halves have the same config.
func (l *layout) Image(ctx context.Context, i int, layers []layer.Info) (config, manifest image.Document, err error) {
	config, manifest, err = l.Documents.Image(ctx, i, image.TarDescriptors(l.Images()[i], layers))
	l.written[i].ID, l.written[i].Manifest = config.Descriptor.Digest, manifest.Descriptor
	return config, manifest, err
}

// Listed returns the names of an image in manifest.json.
func (l *layout) Listed(ctx context.Context, i int) (repoTags []string, ok bool, err error) {
	if l.index == nil {
		names, err := l.Images()[i].Tagged(ctx)
		l.written[i].Names = names.RepoTags
		return names.RepoTags, true, err
	}
	names, err := l.index.Tagged(ctx)
	l.top.Names = names.RepoTags
	return names.RepoTags, i == 0, err
}

// Index returns index.json and the index.
func (l *layout) Index(ctx context.Context) (top []byte, index *image.Document, err error) {
	top, index, err = l.Documents.Index(ctx)
	if index != nil {
		l.top.Manifest = index.Descriptor
	}
	return top, index, err
}
