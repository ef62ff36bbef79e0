package lockfile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Change describes the change of an image between two versions of a file.
type Change struct {
	Reference string
	// Text describes it for people; it is empty if nothing changed.
	Text string
}

// Diff compares the images that are in both files or in updated alone, in the
// order of their references. An image that only old has is not mentioned.
func Diff(old, updated *File) []Change {
	var changes []Change
	for _, ref := range slices.Sorted(maps.Keys(updated.Images)) {
		was, had := old.Images[ref]
		changes = append(changes, Change{ref, difference(was, had, updated.Images[ref])})
	}
	return changes
}

func difference(was Image, had bool, is Image) string {
	names := slices.Sorted(maps.Keys(is.Platforms))
	if !had {
		return fmt.Sprintf("%s, new, for %s", is.Descriptor.Digest, strings.Join(names, ", "))
	}
	if reflect.DeepEqual(was, is) {
		return ""
	}
	var added, changed, gone []string
	for _, name := range names {
		m, ok := was.Platforms[name]
		switch {
		case !ok:
			added = append(added, name)
		case !reflect.DeepEqual(m, is.Platforms[name]):
			changed = append(changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was.Platforms)) {
		if _, ok := is.Platforms[name]; !ok {
			gone = append(gone, name)
		}
	}
	text := is.Descriptor.Digest.String()
	if was.Descriptor.Digest != is.Descriptor.Digest {
		text = fmt.Sprintf("%s -> %s", was.Descriptor.Digest, is.Descriptor.Digest)
	}
	for _, part := range []struct {
		what  string
		names []string
	}{{"new", added}, {"changed", changed}, {"gone", gone}} {
		if len(part.names) > 0 {
			text += fmt.Sprintf("; %s: %s", part.what, strings.Join(part.names, ", "))
		}
	}
	return text
}
