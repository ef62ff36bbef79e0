package ocilayout

import (
	"errors"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
)

// replaceManifest puts a descriptor into an index.json: it replaces the first one with the same
// name and removes the others, or goes to the end. A descriptor without a name replaces only
// itself.
func replaceManifest(index *ordjson.Object, manifest v1.Descriptor) error {
	v, _ := index.Get("manifests")
	list, ok := v.([]any)
	if !ok {
		return errors.New("manifests: expected a list")
	}
	refName := manifest.Annotations[v1.AnnotationRefName]
	other := func(d v1.Descriptor) bool {
		return d.Annotations[v1.AnnotationRefName] != refName || refName == "" && d.Digest != manifest.Digest
	}
	out, placed := make([]any, 0, len(list)+1), false
	for _, item := range list {
		d, err := ocijson.ParseDescriptor(item)
		if err != nil {
			return err
		}
		switch {
		case other(d):
			out = append(out, item)
		case !placed:
			out, placed = append(out, ocijson.Descriptor(manifest)), true
		}
	}
	if !placed {
		out = append(out, ocijson.Descriptor(manifest))
	}
	index.Set("manifests", out)
	return nil
}
