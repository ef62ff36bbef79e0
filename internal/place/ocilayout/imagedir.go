package ocilayout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// The directories of containers-image, which skopeo and podman call dir:, hold one image or one
// index with its images: manifest.json, HEX.manifest.json for the manifests of an index, and
// each blob as HEX. (containers-image, directory/directory_transport.go.)
const (
	imageDirManifest = "manifest.json"
	imageDirVersion  = "version"
	imageDirContent  = "Directory Transport Version: 1.1\n"
)

// ImageDir is such a directory, open for reading.
type ImageDir struct {
	name  string
	files dirFiles
	raw   []byte // manifest.json
	top   v1.Descriptor
	list  []image.Listed
}

// IsImageDir distinguishes a directory of containers-image from a layout.
func IsImageDir(name string) bool {
	has := func(file string) bool {
		_, err := os.Lstat(name + "/" + file)
		return err == nil
	}
	return has(imageDirManifest) && !has(layoutName)
}

// OpenImageDir opens the directory of containers-image called name.
func OpenImageDir(ctx context.Context, name string) (*ImageDir, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("read image directory %q: %w", name, err)
	}
	d := &ImageDir{name: name, files: dirFiles{root}}
	if err := d.readManifest(ctx); err != nil {
		root.Close()
		return nil, d.wrap(err)
	}
	return d, nil
}

func (d *ImageDir) readManifest(ctx context.Context) (err error) {
	if d.raw, err = readFile(d.files, imageDirManifest); err != nil {
		return err
	}
	mediaType, err := ocijson.MediaType(d.raw)
	if err != nil {
		return fmt.Errorf("%s: %w", imageDirManifest, err)
	}
	d.top = image.NewDocument(mediaType, d.raw).Descriptor
	if !ocijson.IsIndex(mediaType) {
		d.list = []image.Listed{{ID: d.top.Digest.String(), Descriptor: d.top}}
		return nil
	}
	manifests, err := image.Manifests(ctx, d.raw, d)
	for _, m := range manifests {
		d.list = append(d.list, image.Listed{ID: m.Digest.String(), Descriptor: m, Index: d.top.Digest})
	}
	return err
}

// String names the directory in messages.
func (d *ImageDir) String() string { return fmt.Sprintf("image directory %q", d.name) }

func (d *ImageDir) wrap(err error) error { return fmt.Errorf("read %s: %w", d, err) }

// List returns the image, or the images of the index. They have no names.
func (d *ImageDir) List() []image.Listed { return d.list }

// Close closes the directory.
func (d *ImageDir) Close() error { return d.files.close() }

// Open reads an image of List.
func (d *ImageDir) Open(ctx context.Context, i int) (*image.Stored, error) {
	img, err := image.Open(ctx, d.list[i].Descriptor, d, "")
	if err != nil {
		return nil, d.wrap(err)
	}
	img.Raw = d.raw
	return img, nil
}

// Document reads a manifest, an index or a config.
func (d *ImageDir) Document(_ context.Context, desc v1.Descriptor) ([]byte, error) {
	switch {
	case desc.Digest == d.top.Digest:
		return d.raw, nil
	case desc.Size > ocijson.MaxSize:
		return nil, fmt.Errorf("blob %s is said to have %d bytes, more than %d", desc.Digest, desc.Size, ocijson.MaxSize)
	}
	blob, err := openSized(d.files, imageDirPath(desc), desc)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return io.ReadAll(layer.Verify(blob, desc))
}

// Fetch opens a layer as it is stored.
func (d *ImageDir) Fetch(_ context.Context, desc v1.Descriptor) (io.ReadCloser, error) {
	return openSized(d.files, imageDirPath(desc), desc)
}

// imageDirPath returns where a directory has what a descriptor describes. SHA-512 differs by its
// length alone.
func imageDirPath(d v1.Descriptor) string {
	if ocijson.IsManifest(d.MediaType) || ocijson.IsIndex(d.MediaType) {
		return d.Digest.Encoded() + "." + imageDirManifest
	}
	return d.Digest.Encoded()
}

// WriteImageDir writes the one image as a directory of containers-image, which is new or empty,
// and returns the digest of its manifest. A manifest that the image has already, even a Docker
// one, is kept if its layers are the same. Several images are an error.
func WriteImageDir(ctx context.Context, images []image.Named, dir string, opts Options) (digest.Digest, error) {
	return writeImageDir(ctx, content{images: images}, dir, opts)
}

func writeImageDir(ctx context.Context, c content, dir string, opts Options) (d digest.Digest, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write image directory %q: %w", dir, err)
		}
	}()
	switch {
	case opts.RefName != "":
		return "", errors.New("what is in it has no name")
	case len(c.images) != 1 && c.index == nil:
		return "", fmt.Errorf("it has one image, or one index: these are %d images", len(c.images))
	}
	if err := opts.check(); err != nil {
		return "", err
	}
	temp, err := atomicfile.CreateDir(dir)
	if err != nil {
		return "", err
	}
	defer temp.Abort()
	w := &dirWriter{root: temp.Root, path: imageDirPath, docker: true}
	if d, err = w.imageDir(ctx, c, opts); err != nil {
		return "", err
	}
	if err := w.publish(); err != nil {
		return "", err
	}
	return d, temp.Commit()
}

// imageDir writes all files.
func (w *dirWriter) imageDir(ctx context.Context, c content, opts Options) (digest.Digest, error) {
	images, err := w.images(ctx, c, opts)
	if err != nil {
		return "", err
	}
	top := images[0]
	if c.index != nil {
		manifests := make([]v1.Descriptor, len(images))
		for i, m := range images {
			manifests[i] = m.Descriptor
			if err := w.put(ctx, imageDirPath(m.Descriptor), m.Data); err != nil {
				return "", err
			}
		}
		if top, err = c.index.Document(manifests); err != nil {
			return "", err
		}
		if opts.described != nil {
			opts.described(indexNumber, v1.Descriptor{}, top.Descriptor)
		}
	}
	if err := w.put(ctx, imageDirVersion, []byte(imageDirContent)); err != nil {
		return "", err
	}
	return top.Descriptor.Digest, w.put(ctx, imageDirManifest, top.Data)
}

// publish gives the directory the mode that a new one has.
func (w *dirWriter) publish() error {
	const probe = tempName + "mode"
	if err := w.root.Mkdir(probe, 0o777); err != nil {
		return err
	}
	made, err := w.root.Stat(probe)
	if err == nil {
		err = w.root.Remove(probe)
	}
	if err == nil {
		err = w.root.Chmod(".", made.Mode())
	}
	return err
}
