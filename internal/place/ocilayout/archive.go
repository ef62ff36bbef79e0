package ocilayout

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// WriteArchive writes the image to w as the tar of a layout and returns the digest of its
// manifest. The members are oci-layout, the directories, the layers in their order, config,
// manifest and index.json. A layer is compressed into a temporary file first, because a tar
// states sizes before contents; a few such files, without names, exist at a time.
//
// After an error, what was written to w is of no use.
func WriteArchive(ctx context.Context, w io.Writer, img image.Named, opts Options) (digest.Digest, error) {
	return writeArchive(ctx, w, content{images: []image.Named{img}}, opts)
}

// WriteIndexArchive is WriteArchive for an index, whose digest it returns. The images' members
// follow each other, shared ones once, and the index is the last blob.
func WriteIndexArchive(ctx context.Context, w io.Writer, index *image.Index, opts Options) (digest.Digest, error) {
	return writeArchive(ctx, w, indexed(index), opts)
}

func writeArchive(ctx context.Context, w io.Writer, c content, opts Options) (digest.Digest, error) {
	if err := opts.check(); err != nil {
		return "", err
	}
	if len(c.images) == 0 {
		return "", errNoImage
	}
	a := &archiver{tar: layer.NewWriter(w, layer.PAX, ""), modTime: image.ModTime(c.images[0]), written: map[string]bool{}}
	d, err := a.write(ctx, c, opts)
	if err != nil {
		return "", fmt.Errorf("write OCI archive: %w", err)
	}
	return d, nil
}

type archiver struct {
	tar     *layer.Writer
	modTime int64
	written map[string]bool // members
}

func (a *archiver) write(ctx context.Context, c content, opts Options) (digest.Digest, error) {
	if err := a.put(ctx, layoutName, layoutFile()); err != nil {
		return "", err
	}
	for _, dir := range []string{path.Dir(blobDir), blobDir} {
		if err := a.dir(dir); err != nil {
			return "", err
		}
	}
	var manifests []v1.Descriptor
	for i, img := range c.images {
		p := packer{take: a.blob, omit: opts.Omit, temp: func() (*os.File, error) { return atomicfile.Unnamed(opts.TempDir) }}
		if opts.Plain {
			p.stream = a.stream
		}
		layers, err := p.run(ctx, img, opts, c.observe(i, opts))
		if err != nil {
			return "", err
		}
		config, manifest, err := opts.describe(ctx, i, img, layers, false)
		if err != nil {
			return "", err
		}
		if err := a.documents(ctx, config, manifest); err != nil {
			return "", err
		}
		manifests = append(manifests, manifest.Descriptor)
	}
	tops, index, err := c.tops(ctx, manifests, opts)
	if err != nil {
		return "", err
	}
	if index != nil {
		if err := a.documents(ctx, *index); err != nil {
			return "", err
		}
	}
	data, err := ocijson.Index(tops, nil)
	if err != nil {
		return "", err
	}
	if err := a.put(ctx, indexName, data); err != nil {
		return "", err
	}
	return tops[0].Digest, a.tar.Close()
}

// parent writes the directory of a blob, which is missing for algorithms other than SHA-256.
func (a *archiver) parent(name string) error {
	dir := path.Dir(name)
	if dir == "." || a.written[dir] {
		return nil
	}
	return a.dir(dir)
}

func (a *archiver) dir(name string) error {
	a.written[name] = true
	e := tree.NewDir(name, 0o755)
	e.ModTime = a.modTime
	return a.tar.WriteHeader(e)
}

// documents writes blobs that are JSON.
func (a *archiver) documents(ctx context.Context, docs ...image.Document) error {
	for _, doc := range docs {
		if err := a.put(ctx, BlobPath(doc.Descriptor.Digest), doc.Data); err != nil {
			return err
		}
	}
	return nil
}

// again reports whether a member was written already.
func (a *archiver) again(name string) bool {
	was := a.written[name]
	a.written[name] = true
	return was
}

// blob writes a layer's member from a file.
func (a *archiver) blob(ctx context.Context, file *os.File, desc v1.Descriptor) error {
	return a.member(desc, func(w io.Writer) error {
		n, err := io.Copy(w, ctxio.Reader(ctx, io.NewSectionReader(file, 0, desc.Size)))
		if err == nil && n != desc.Size {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
}

// stream writes a layer's member as it is made.
func (a *archiver) stream(ctx context.Context, b *image.Blob, desc v1.Descriptor) error {
	return a.member(desc, func(w io.Writer) error { return b.Write(ctx, w) })
}

// member writes a layer's member, unless it is there.
func (a *archiver) member(desc v1.Descriptor, content func(io.Writer) error) error {
	if a.again(BlobPath(desc.Digest)) {
		return nil
	}
	if err := a.parent(BlobPath(desc.Digest)); err != nil {
		return err
	}
	e := &tree.Entry{Path: BlobPath(desc.Digest), Type: tree.Regular, Mode: 0o644, ModTime: a.modTime, Size: desc.Size}
	if err := a.tar.WriteHeader(e); err != nil {
		return err
	}
	if err := a.tar.Content(desc.Size, content); err != nil {
		return err
	}
	a.tar.Pad(desc.Size)
	return nil
}

func (a *archiver) put(ctx context.Context, name string, data []byte) error {
	if a.again(name) {
		return nil
	}
	if err := a.parent(name); err != nil {
		return err
	}
	e := tree.NewFile(name, 0o644, string(data))
	e.ModTime = a.modTime
	return a.tar.Write(ctx, e)
}
