package place

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// SelectCalled opens the image called name, which fromImageName and fromImageTag choose. If
// there is none, it takes, with a warning, an image whose name differs only in its registry, or
// the only image: dockerTools never compared the names, and archives of other tools have other
// names than the images they were made from.
func SelectCalled(ctx context.Context, src image.Source, name string, platform v1.Platform, opts Options) (*Image, error) {
	_, err := image.Select(ctx, src, name, platform)
	if !errors.Is(err, fs.ErrNotExist) {
		return Select(ctx, src, name, platform, opts)
	}
	list := src.List()
	number, own, ok := spelledOtherwise(list, name)
	if !ok {
		return nil, &RefError{Err: err}
	}
	if own != "" {
		opts.warn("fromImageName and fromImageTag are %q, and %s has no image of this name: its %q is taken", name, src, own)
	} else {
		opts.warn("fromImageName and fromImageTag are %q, and %s has no image of this name: its only one is taken", name, src)
	}
	if list[number].Index != "" && own != "" { // the index's platform counts
		return Select(ctx, src, own, platform, opts)
	}
	return Select(ctx, src, fmt.Sprintf("@%d", number), platform, opts)
}

// spelledOtherwise finds the one image whose name differs from name only in its registry, or
// else the only image, and its name there, if any.
func spelledOtherwise(list []image.Listed, name string) (number int, own string, ok bool) {
	var found []int
	want := withoutRegistry(name)
	for i, l := range list {
		if n := slices.IndexFunc(l.Names, func(n string) bool { return withoutRegistry(n) == want }); n >= 0 {
			found = append(found, i)
			own = cmp.Or(own, l.Names[n])
		}
	}
	if len(found) == 0 {
		for i := range list {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return 0, "", false
	}
	first := list[found[0]]
	if own == "" && len(first.Names) > 0 {
		own = first.Names[0]
	}
	for _, i := range found[1:] {
		one := first.Index != "" && list[i].Index == first.Index || first.ID != "" && list[i].ID == first.ID
		if !one {
			return 0, "", false
		}
	}
	return found[0], own, true
}

// withoutRegistry returns an image's name without its registry, and without the prefix of
// Docker's own images.
func withoutRegistry(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	tag := "latest"
	if t, ok := named.(reference.Tagged); ok {
		tag = t.Tag()
	}
	return strings.TrimPrefix(reference.Path(named), "library/") + ":" + tag
}
