package cli

import (
	"context"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/spec"
)

// dockerTools returns the functions of nixpkgs' dockerTools. What they open stays open
// until the command ends.
func (g *global) dockerTools() *dockertools.Tools {
	t := dockertools.New(dockertools.Options{
		Transfer: g.transfers(place.Wanted{Platform: hostPlatform()}), Root: g.root, StoreRoot: g.storeRoot,
		SourceDateEpoch: g.sourceDateEpoch, Steps: g.steps(), Now: g.streams.Now,
		Describe: func(ctx context.Context, s *spec.Spec, lock string) (*assemble.Result, error) {
			return buildParsed(ctx, g, s, lock, nil)
		},
		Build: func(ctx context.Context, s *spec.Spec, lock, ref string) error {
			dest, err := g.destinationOf(s, ref)
			if err != nil {
				return err
			}
			return g.build(ctx, s, lock, dest, nil)
		},
		Omitted: g.warnOmitted,
		Info:    func(text string) { g.ui.Info("%s", text) },
	})
	g.closers = append(g.closers, t)
	return t
}
