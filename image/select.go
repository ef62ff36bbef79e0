package image

import (
	"fmt"
	"io/fs"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
)

// SelectEach returns the indexes in src.List of all images; of those of one
// index, that for platform.
func SelectEach(src Source, platform v1.Platform) ([]int, error) {
	list := src.List()
	var all []int
	for i := 0; i < len(list); {
		n := i + 1
		for list[i].Index != "" && n < len(list) && sameIndex(list[n], list[i]) {
			n++
		}
		manifests := make([]v1.Descriptor, n-i)
		for k := range manifests {
			manifests[k] = list[i+k].Descriptor
		}
		chosen := 0
		if list[i].Index != "" {
			d, err := ocijson.Choose(manifests, platform)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", src, err)
			}
			chosen = slices.IndexFunc(manifests, func(m v1.Descriptor) bool { return m.Digest == d.Digest })
		}
		all = append(all, i+chosen)
		i = n
	}
	return all, nil
}

func sameIndex(a, b Listed) bool { return a.Index == b.Index && slices.Equal(a.Names, b.Names) }

// SelectAll returns the indexes in src.List of the images that are called name,
// as Select has it: one, or those of an index for all platforms. Without a name
// it returns all images.
func SelectAll(src Source, name string) ([]int, error) {
	list := src.List()
	full := fullName(name)
	var all []int
	for i, l := range list {
		if name == "" || called(l, name, full) {
			all = append(all, i)
		}
	}
	if err := checkDigests(list, all, name); err != nil {
		return nil, fmt.Errorf("read %s: %w", src, err)
	}
	if len(all) > 0 && list[all[0]].Index != "" || name == "" {
		if len(all) == 0 {
			return nil, fmt.Errorf("read %s: %w: it holds no image", src, fs.ErrNotExist)
		}
		return all, nil
	}
	i, err := Select(src, name, v1.Platform{})
	return []int{i}, err
}
