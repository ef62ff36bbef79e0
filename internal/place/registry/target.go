package registry

import (
	"context"
	"slices"

	"github.com/varve-image/varve/image"
)

// Target is a repository of a registry that images are pushed to.
type Target struct {
	// Ref is HOST/NAME, with a tag if everything that is written there gets that tag.
	Ref string
	// Options returns how to talk to the registry, when that is first needed.
	Options func() (PushOptions, error)
}

// String names the repository as a reference.
func (t *Target) String() string { return "docker://" + t.Ref }

// Write pushes images one after the other, each with the tags that Refs returns for it.
func (t *Target) Write(ctx context.Context, images []image.Named, observe func(image.Event)) ([]image.Written, error) {
	refs, err := t.refs(ctx, images)
	if err != nil {
		return nil, err
	}
	opts, err := t.Options()
	if err != nil {
		return nil, err
	}
	var written []image.Written
	for i, img := range images {
		opts.Observe = image.Observe(images, i, observe)
		w := image.Written{}
		for _, ref := range refs[i] {
			if w.Manifest, err = Push(ctx, ref, img, opts); err != nil {
				break
			}
			w.Names = append(w.Names, ref)
			opts.Observe = nil // the layers are there
		}
		if err == nil {
			w.ID, err = image.ID(ctx, img)
		}
		if len(w.Names) > 0 {
			written = append(written, w)
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// refs returns the references of each image in the registry. Two images with the same reference
// are an error, since one would replace the other.
func (t *Target) refs(ctx context.Context, images []image.Named) ([][]string, error) {
	all := make([][]string, len(images))
	taken := map[string]bool{}
	for i, img := range images {
		names := img.Names
		if image.Tag(t.Ref) == "" {
			var err error
			if names, err = img.Tagged(ctx); err != nil {
				return nil, err
			}
		}
		all[i] = Refs(t.Ref, names)
		for _, ref := range all[i] {
			if taken[ref] {
				return nil, &image.CollisionError{Name: ref}
			}
			taken[ref] = true
		}
	}
	return all, nil
}

// WriteIndex pushes an index with its images.
func (t *Target) WriteIndex(ctx context.Context, x *image.Index, observe func(image.Event)) (image.Written, error) {
	opts, err := t.Options()
	if err != nil {
		return image.Written{}, err
	}
	opts.Observe = observe
	names, err := x.Tagged(ctx)
	if err != nil {
		return image.Written{}, err
	}
	refs := Refs(t.Ref, names)
	desc, err := PushIndex(ctx, refs, x, opts)
	return image.Written{Names: refs, Manifest: desc}, err
}

// Refs returns the references, in the repository of ref, of an image with names, which have
// tags: ref itself if that has a tag, and otherwise one for each of the names' tags, or latest
// without any.
func Refs(ref string, names image.Names) []string {
	if image.Tag(ref) != "" {
		return []string{ref}
	}
	var tags []string
	repoTags := names.RepoTags
	if own := names.InPlaceOfTag(); isTag(own) {
		tags, repoTags = []string{own}, nil
	}
	for _, name := range repoTags {
		tags = append(tags, image.Tag(name))
	}
	for _, name := range names.RefNames {
		if isTag(name) {
			tags = append(tags, name)
		}
	}
	if len(tags) == 0 {
		tags = []string{"latest"}
	}
	var refs []string
	for _, tag := range tags {
		if full := ref + ":" + tag; !slices.Contains(refs, full) {
			refs = append(refs, full)
		}
	}
	return refs
}

// isTag reports whether a name within a layout can be a tag.
func isTag(name string) bool { return name != "" && image.Tag("x:"+name) == name }
