package hybrid

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/varve-image/varve/image"
)

// Target is an archive that images are written to.
type Target struct {
	// Name is the archive's name in messages.
	Name string
	// Output writes the archive.
	Output image.Output
	// RepoTag is the name of the one image in the archive; it defaults to the image's own names.
	RepoTag string
	// Options says how to write the archive.
	Options Options
}

// String names the archive in messages.
func (t *Target) String() string { return t.Name }

// Write writes images as one archive.
func (t *Target) Write(ctx context.Context, images []image.Named, observe func(image.Event)) (written []image.Written, err error) {
	if len(images) == 0 {
		return nil, errors.New("there is no image to write")
	}
	if t.RepoTag != "" {
		if len(images) != 1 {
			return nil, errors.New("a name is for one image")
		}
		images = slices.Clone(images)
		images[0].Names = images[0].Renamed(t.RepoTag)
	}
	opts := t.Options
	opts.Observe = observe
	err = t.Output(func(w io.Writer) error {
		written, err = Write(ctx, w, images, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return written, nil
}

// WriteIndex writes an index with its images.
func (t *Target) WriteIndex(ctx context.Context, x *image.Index, observe func(image.Event)) (written image.Written, err error) {
	if len(x.Images) == 0 {
		return written, errors.New("there is no image to write")
	}
	if t.RepoTag != "" {
		x = &image.Index{Images: x.Images, Names: x.Renamed(t.RepoTag), Annotations: x.Annotations, Raw: x.Raw}
	}
	opts := t.Options
	opts.Observe = observe
	err = t.Output(func(w io.Writer) error {
		written, err = WriteIndex(ctx, w, x, opts)
		return err
	})
	if err != nil {
		return image.Written{}, err
	}
	return written, nil
}
