package layering

import (
	"fmt"
	"slices"

	"github.com/varve-image/varve/internal/problems"
)

// LimitError says that an image's other layers leave none for its store paths.
type LimitError struct {
	// MaxLayers is how many layers the image may have, Base how many the base
	// image has, and Other how many the top layer and explicit groups take.
	MaxLayers, Base, Other int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%d layers are allowed, the base image has %d and other layers are %d, which leaves none for store paths",
		e.MaxLayers, e.Base, e.Other)
}

// Available returns how many of an image's maxLayers layers are left for store
// paths when the base image has base layers, and the top layer and explicit
// groups are other layers. If that is less than one, the error is a
// *LimitError; an image without store paths to place need not ask.
func Available(maxLayers, base, other int) (int, error) {
	base, other = max(base, 0), max(other, 0)
	if maxLayers <= base || maxLayers-base <= other { // never overflows, as a sum could
		return 0, &LimitError{MaxLayers: maxLayers, Base: base, Other: other}
	}
	return maxLayers - base - other, nil
}

// Limit divides order into at most n layers: each of the first n-1 paths is a layer
// of its own and all others share the last. No layer is empty. An n below 1 counts
// as 1.
func Limit(order []string, n int) [][]string {
	var layers [][]string
	for i := range order {
		if len(layers) >= n-1 {
			return append(layers, slices.Clip(order[i:]))
		}
		layers = append(layers, slices.Clip(order[i:i+1]))
	}
	return layers
}

// CheckPartition checks that every path is in exactly one of layers, once, and
// nothing else is in them. The error names the paths that are missing, repeated
// or unknown; layers are counted from 1.
func CheckPartition(paths []string, layers [][]string) error {
	const nowhere = 0
	place := make(map[string]int, len(paths))
	for _, path := range paths {
		place[path] = nowhere
	}
	var faults problems.List
	for i, layer := range layers {
		for _, path := range layer {
			switch before, known := place[path]; {
			case !known:
				faults.Addf("%q, in layer %d, is not one of the paths", path, i+1)
			case before == nowhere:
				place[path] = i + 1
			case before == i+1:
				faults.Addf("%q is in layer %d twice", path, before)
			default:
				faults.Addf("%q is in layers %d and %d", path, before, i+1)
			}
		}
	}
	for _, path := range paths {
		if place[path] == nowhere {
			faults.Addf("%q is in no layer", path)
			place[path] = len(layers) + 1 // named once, however often it is given
		}
	}
	if err := faults.Err(); err != nil {
		return fmt.Errorf("place store paths in layers: %w", err)
	}
	return nil
}
