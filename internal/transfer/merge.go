package transfer

import (
	"context"
	"fmt"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place"
)

// Merge writes the images of several references into one place, under their names. No two images
// may have the same name.
func Merge(ctx context.Context, refs []string, d Destination, opts Options) ([]Sent, error) {
	var images []image.Named
	taken := map[string]string{} // references, by the names of their images
	for _, ref := range refs {
		found, err := place.OpenImages(ctx, ref, opts.Wanted, opts.Places)
		if err != nil {
			return nil, err
		}
		defer found.Close()
		for _, img := range found.List {
			names := image.NamesFor(img.Names, found.Asked)
			if names.RepoTags, err = mergedNames(img.Names, ref, taken); err != nil {
				return nil, err
			}
			images = append(images, image.Named{Image: img.Stored, Names: names})
		}
	}
	sent, err := Write(ctx, d, images, opts)
	if err != nil {
		return sent, fmt.Errorf("merge into %q: %w", d.String(), err)
	}
	return sent, nil
}

// mergedNames returns an image's names, none of which another image may have.
func mergedNames(names []string, ref string, taken map[string]string) ([]string, error) {
	var kept []string
	for _, name := range names {
		if _, _, err := image.SplitRepoTag(name); err != nil {
			continue // a layout's own name for it
		}
		if other, ok := taken[name]; ok {
			return nil, &place.RefError{Err: fmt.Errorf("%q and %q both hold an image called %q: an archive has one of a name", other, ref, name)}
		}
		taken[name] = ref
		kept = append(kept, name)
	}
	return kept, nil
}
