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
func (c *command) dockerTools() *dockertools.Tools {
	t := dockertools.New(dockertools.Options{
		Transfer: c.transfers(place.Wanted{Platform: hostPlatform()}), Root: c.root, StoreRoot: c.storeRoot,
		SourceDateEpoch: c.sourceDateEpoch, Steps: c.steps(), Now: c.streams.Now,
		Describe: func(ctx context.Context, s *spec.Spec, lock string) (*assemble.Result, error) {
			return buildParsed(ctx, c, s, lock, nil)
		},
		Build: func(ctx context.Context, s *spec.Spec, lock, ref string) error {
			dests, err := c.destinations(s, []string{ref})
			if err != nil {
				return err
			}
			return c.build(ctx, s, lock, dests, nil)
		},
		Omitted: c.warnOmitted,
		Info:    func(text string) { c.ui.Info("%s", text) },
	})
	c.closers = append(c.closers, t)
	return t
}
