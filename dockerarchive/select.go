package dockerarchive

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"github.com/varve-image/varve/image"
)

// maxNamed is how many of an archive's names a message lists.
const maxNamed = 20

// Select returns one of the archive's images: the one called NAME:TAG, the one
// with the number N, from 0, for @N, and for an empty ref the first. Names are
// the same if they are in full: app:1 is docker.io/library/app:1. A name that
// the archive does not have is an fs.ErrNotExist that lists those it has; one
// that stands for different images is an error.
func (a *Archive) Select(ref string) (*image.Existing, error) {
	i, err := a.find(ref)
	if err != nil {
		return nil, fmt.Errorf("read docker-archive %q: %w", a.name, err)
	}
	return a.Image(i)
}

func (a *Archive) find(ref string) (int, error) {
	if ref == "" {
		return 0, nil
	}
	if number, ok := strings.CutPrefix(ref, "@"); ok {
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 {
			return 0, fmt.Errorf("image %q: expected NAME:TAG, or @ and a number from 0", ref)
		}
		if i >= len(a.images) {
			return 0, fmt.Errorf("image %q: %w: the archive has %d, which count from @0", ref, fs.ErrNotExist, len(a.images))
		}
		return i, nil
	}
	found, full := -1, fullName(ref)
	for i, m := range a.images {
		if !slices.ContainsFunc(m.repoTags, func(tag string) bool { return fullName(tag) == full }) {
			continue
		}
		if found >= 0 && !sameImage(m, a.images[found]) {
			return 0, fmt.Errorf("image %q: the archive has two of this name: choose @%d or @%d", ref, found, i)
		}
		if found < 0 {
			found = i
		}
	}
	if found < 0 {
		return 0, fmt.Errorf("image %q: %w: %s", ref, fs.ErrNotExist, a.names())
	}
	return found, nil
}

// sameImage tells that manifest.json lists an image twice.
func sameImage(a, b manifest) bool {
	return a.config == b.config && slices.Equal(a.layers, b.layers)
}

// fullName is the name with its registry and tag, or the text as it is where
// it is no name.
func fullName(text string) string {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return text
	}
	return reference.TagNameOnly(named).String()
}

// names is a list of the archive's names for a message.
func (a *Archive) names() string {
	var names []string
	for _, m := range a.images {
		for _, tag := range m.repoTags {
			names = append(names, strconv.Quote(tag))
		}
	}
	switch {
	case len(names) == 0:
		return fmt.Sprintf("the archive's %d images have no names: choose by @ and a number from 0", len(a.images))
	case len(names) > maxNamed:
		return fmt.Sprintf("the archive has %s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
	}
	return "the archive has " + strings.Join(names, ", ")
}
