package assemble

import (
	"context"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// MarkKept fills in Kept of the layers: whether another image has them. layers are the store paths
// of its layers and diffIDs what they are, nil if that is not known.
//
// Layers of store paths are compared by their paths and the order of these. The others are compared
// by their diffIDs, for which those that the image adds are read. Where the other image's diffIDs are
// not known, it has the base's layers, and none with other files.
func (r *Result) MarkKept(ctx context.Context, layers [][]string, diffIDs []digest.Digest) error {
	had := map[string]bool{}
	for _, paths := range layers {
		if len(paths) > 0 {
			had[strings.Join(paths, "\n")] = true
		}
	}
	for i := range r.Layers {
		l := &r.Layers[i]
		var kept bool
		switch {
		case l.Kind == KindStore:
			kept = had[strings.Join(l.Paths, "\n")]
		case l.Kind == KindBase && diffIDs != nil:
			kept = slices.Contains(diffIDs, r.Description.Base.DiffIDs[i])
		case l.Kind == KindBase:
			kept = true
		case diffIDs != nil:
			info, err := r.Description.Layers[i].Info(ctx)
			if err != nil {
				return err
			}
			kept = slices.Contains(diffIDs, info.DiffID)
		}
		l.Kept = &kept
	}
	return nil
}

// Pull is what a host that has another image fetches of an image.
type Pull struct {
	KeptLayers, NewLayers int
	KeptBytes, NewBytes   uint64
}

// Pull adds up the layers after MarkKept.
func (r *Result) Pull() (p Pull) {
	for _, l := range r.Layers {
		if l.Kept != nil && *l.Kept {
			p.KeptLayers++
			p.KeptBytes += l.Size
		} else {
			p.NewLayers++
			p.NewBytes += l.Size
		}
	}
	return p
}
