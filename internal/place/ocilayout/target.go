package ocilayout

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// NewDir returns the layout in the directory dir, which WriteDir describes, as a target.
func NewDir(dir string, opts Options) image.IndexTarget {
	return &target{name: dir, opts: opts, write: func(ctx context.Context, c content, opts Options) (digest.Digest, error) {
		return writeDir(ctx, c, dir, opts)
	}}
}

// NewArchive returns the tar of a layout, which WriteArchive describes, as a target. name is
// for messages.
func NewArchive(name string, out image.Output, opts Options) image.IndexTarget {
	return &target{name: name, opts: opts, write: func(ctx context.Context, c content, opts Options) (d digest.Digest, err error) {
		err = out(func(w io.Writer) error {
			d, err = writeArchive(ctx, w, c, opts)
			return err
		})
		return d, err
	}}
}

// NewImageDir returns a directory of containers-image, which WriteImageDir describes, as a
// target.
func NewImageDir(dir string, opts Options) image.IndexTarget {
	return &target{name: dir, opts: opts, write: func(ctx context.Context, c content, opts Options) (digest.Digest, error) {
		return writeImageDir(ctx, c, dir, opts)
	}}
}

type target struct {
	name  string
	opts  Options
	write func(ctx context.Context, c content, opts Options) (digest.Digest, error)
}

func (t *target) String() string { return t.name }

// Write writes images.
func (t *target) Write(ctx context.Context, images []image.Named, observe func(image.Event)) ([]image.Written, error) {
	if t.opts.RefName != "" && len(images) > 1 {
		return nil, fmt.Errorf("%d images cannot all be called %q", len(images), t.opts.RefName)
	}
	opts := t.opts
	opts.Observe = observe
	written := make([]image.Written, len(images))
	opts.described = func(i int, config, manifest v1.Descriptor) {
		written[i].ID, written[i].Manifest = config.Digest, manifest
	}
	if _, err := t.write(ctx, content{images: images}, opts); err != nil {
		return nil, err
	}
	for i, img := range images {
		names, err := img.Tagged(ctx)
		if err != nil {
			return nil, err
		}
		written[i].Names = t.names(names)
	}
	return written, nil
}

// WriteIndex writes an index with its images.
func (t *target) WriteIndex(ctx context.Context, x *image.Index, observe func(image.Event)) (image.Written, error) {
	opts := t.opts
	opts.Observe = observe
	var written image.Written
	opts.described = func(i int, _, manifest v1.Descriptor) {
		if i == indexNumber {
			written.Manifest = manifest
		}
	}
	if _, err := t.write(ctx, indexed(x), opts); err != nil {
		return image.Written{}, err
	}
	names, err := x.Tagged(ctx)
	written.Names = t.names(names)
	return written, err
}

// names returns an image's names in the layout: its full names, and those that only a layout
// has, except their tags.
func (t *target) names(n image.Names) []string {
	if t.opts.RefName != "" {
		n.RefNames = []string{t.opts.RefName}
	}
	all := slices.Clone(n.RepoTags)
	for _, name := range n.RefNames {
		if !slices.ContainsFunc(n.RepoTags, func(full string) bool { return image.Tag(full) == name }) {
			all = append(all, name)
		}
	}
	return all
}
