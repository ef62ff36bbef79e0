package place

import (
	"context"

	"github.com/varve-image/varve/internal/place/engine"
)

// List returns the names of the images in a place. It returns none for a registry, which may
// have millions, and for an engine that cannot list them.
func List(ctx context.Context, r Ref, opts Options) ([]string, error) {
	switch {
	case r.Transport == Registry:
		return nil, nil
	case r.Transport.IsEngine():
		e, err := opts.engine(ctx, r.Transport)
		if err != nil {
			return nil, err
		}
		return engine.List(ctx, e)
	}
	src, err := OpenPath(ctx, r.Transport, r.Path, opts)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	var names []string
	for _, l := range src.List() {
		names = append(names, l.Names...)
	}
	return names, nil
}
