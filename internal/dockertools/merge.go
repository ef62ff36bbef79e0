package dockertools

import (
	"context"
	"fmt"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place"
)

// Merge writes all images that references name into one docker-archive, as mergeImages does.
// Each keeps its names, none of which two of them may have.
func (t *Tools) Merge(ctx context.Context, refs []string, file string, c compress.Compression) error {
	var images []image.Named
	taken := map[string]string{}
	for _, ref := range refs {
		found, asked, err := t.opts.Open(ctx, ref)
		if err != nil {
			return err
		}
		for _, img := range found {
			names := image.NamesFor(img.Names, asked)
			if names.RepoTags, err = mergedNames(img.Names, ref, taken); err != nil {
				return err
			}
			images = append(images, image.Named{Image: img.Stored, Names: names})
		}
	}
	if err := t.opts.Write(ctx, place.Ref{Transport: place.DockerArchive, Path: file}, c, images); err != nil {
		return fmt.Errorf("merge into %q: %w", file, err)
	}
	return nil
}

// mergedNames are the names that an image brings, none of which another one
// may have.
func mergedNames(names []string, ref string, taken map[string]string) ([]string, error) {
	var kept []string
	for _, name := range names {
		if _, _, err := image.SplitRepoTag(name); err != nil {
			continue // a layout's own name for it
		}
		if other, ok := taken[name]; ok {
			return nil, inputErrorf("%q and %q both hold an image called %q: an archive has one of a name", other, ref, name)
		}
		taken[name] = ref
		kept = append(kept, name)
	}
	return kept, nil
}
