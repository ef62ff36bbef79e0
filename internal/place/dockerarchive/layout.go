package dockerarchive

import (
	"context"
	"path"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// Layout makes an archive an OCI layout as well (OCI image-spec, image-layout.md), with layers that
// are not compressed. Its methods are called in the order of the archive's members: File, Image for
// each image, Index.
type Layout interface {
	// File returns oci-layout.
	File() []byte
	// Image returns the config and the manifest of an image, by its number, whose layers are in the
	// archive now.
	Image(ctx context.Context, i int, layers []layer.Info) (config, manifest image.Document, err error)
	// Listed reports whether manifest.json has an image, and by which names.
	Listed(ctx context.Context, i int) (repoTags []string, ok bool, err error)
	// Index returns index.json, and the index that it lists, if there is one.
	Index(ctx context.Context) (top []byte, index *image.Document, err error)
}

// blobPath returns where a layout has a blob.
func blobPath(d digest.Digest) string {
	return path.Join(path.Dir(path.Clean(blobDir)), d.Algorithm().String(), d.Encoded())
}

// beginLayout writes what is before the layers of a layout.
func (a *writer) beginLayout() error {
	if a.opts.Layout == nil {
		return nil
	}
	if err := a.file(v1.ImageLayoutFile, a.opts.Layout.File()); err != nil {
		return err
	}
	if err := a.dir(v1.ImageBlobsDir); err != nil {
		return err
	}
	return a.dir(path.Clean(blobDir))
}

// layoutImage writes an image's documents, whose layers have been written.
func (a *writer) layoutImage(i int) error {
	config, manifest, err := a.opts.Layout.Image(a.ctx, i, a.infos)
	if err != nil {
		return err
	}
	repoTags, ok, err := a.opts.Layout.Listed(a.ctx, i)
	if err != nil {
		return err
	}
	if ok {
		a.list(blobPath(config.Descriptor.Digest), repoTags)
	}
	if err := a.blob(config); err != nil {
		return err
	}
	return a.blob(manifest)
}

// endLayout writes what is behind the images of a layout.
func (a *writer) endLayout() error {
	if a.opts.Layout == nil {
		return nil
	}
	top, index, err := a.opts.Layout.Index(a.ctx)
	if err != nil {
		return err
	}
	if index != nil {
		if err := a.blob(*index); err != nil {
			return err
		}
	}
	return a.file(v1.ImageIndexFile, top)
}

// blob writes a document as a blob, unless it is there.
func (a *writer) blob(doc image.Document) error {
	name := blobPath(doc.Descriptor.Digest)
	if err := a.dir(path.Dir(name)); err != nil { // of another algorithm than SHA-256
		return err
	}
	return a.once(name, doc.Data)
}

// dir writes a directory, unless it is there.
func (a *writer) dir(name string) error {
	if _, ok := a.written[name]; ok {
		return nil
	}
	a.written[name] = ""
	e := tree.NewDir(name, 0o755)
	e.ModTime = image.ModTime(a.img)
	return a.tar.WriteHeader(e)
}

// omits reports whether a layer is left out.
func (o Options) omits(diffID digest.Digest) bool { return o.Omit != nil && o.Omit(diffID) }
