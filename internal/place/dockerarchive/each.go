package dockerarchive

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/image"
)

// layersAhead is how many layers each begins ahead of the visited one, besides two for each processor:
// enough that the others do not wait while one reads a large layer, and few enough that what was read
// is still in the page cache when visit reads it again.
const layersAhead = 12

// each calls visit for each layer in order. Meanwhile ahead is called for the layers after it: for
// as many at once as there are processors.
func each(ctx context.Context, layers []image.Layer, ahead func(context.Context, image.Layer) error, visit func(ctx context.Context, i int) error) error {
	workers := runtime.GOMAXPROCS(0)
	begun := make(chan struct{}, 2*workers+layersAhead)
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error {
		reading, ctx := errgroup.WithContext(ctx)
		reading.SetLimit(workers)
		for _, l := range layers {
			select {
			case begun <- struct{}{}:
			case <-ctx.Done():
				return reading.Wait()
			}
			reading.Go(func() error { return ahead(ctx, l) })
		}
		return reading.Wait()
	})
	tasks.Go(func() error {
		for i := range layers {
			err := ctx.Err()
			if err == nil {
				err = visit(ctx, i)
			}
			if err != nil {
				return err
			}
			select {
			case <-begun:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return tasks.Wait()
}

// eachOf returns an observer for images that are written one after the other. It reports their
// layers as layers of all of them.
func eachOf(images []image.Named, observe func(image.Event)) func(image.Event) {
	if observe == nil {
		return nil
	}
	i := 0
	return func(e image.Event) {
		for i < len(images)-1 && len(images[i].Layers()) == 0 { // no events come for these
			i++
		}
		image.Observe(images, i, observe)(e)
		if e.Done && e.Layer == e.Layers && i < len(images)-1 {
			i++
		}
	}
}
