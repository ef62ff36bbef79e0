package cli

import (
	"context"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/spec"
)

// dockerTools does what the functions of nixpkgs' dockerTools do. What it opens stays open
// until the command ends.
func (g *global) dockerTools() *dockertools.Tools {
	t := dockertools.New(dockertools.Options{
		Places: g.places(), Platform: hostPlatform(), Root: g.root, StoreRoot: g.storeRoot,
		SourceDateEpoch: g.sourceDateEpoch, Steps: g.steps(), Now: g.streams.Now,
		Describe: func(ctx context.Context, s *spec.Spec, lock string) (*assemble.Result, error) {
			return buildParsed(ctx, g, s, lock, nil)
		},
		Build: func(ctx context.Context, s *spec.Spec, lock, output string) error {
			dest, err := g.destinationOf(s, output)
			if err != nil {
				return err
			}
			return g.build(ctx, s, lock, dest, nil)
		},
		Open: func(ctx context.Context, ref string) ([]*place.Image, string, error) {
			found, err := g.open(ctx, ref)
			if err != nil {
				return nil, "", err
			}
			return found.images, found.asked, nil
		},
		Write: func(ctx context.Context, at place.Ref, c compress.Compression, images []image.Named) error {
			_, err := g.write(ctx, &destination{at, c}, images...)
			return err
		},
		Progress: g.watch, Omitted: g.warnOmitted,
		Info: func(text string) { g.ui.Info("%s", text) },
	})
	g.closers = append(g.closers, t)
	return t
}
