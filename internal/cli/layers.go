package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/spec"
)

type layersOptions struct {
	spec     specflags.Flags
	json     bool
	simulate string
}

func newLayers(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &layersOptions{}
	cmd := &cobra.Command{
		Use:   "layers [SPEC | -]",
		Short: "Show which layers an image will have, without writing them",
		Long: `layers shows which layers an image will have, with their store paths.

What is in them depends on the base image and on what scripts leave behind. So layers
fetches a base that is not in the cache, and runs scripts, as build does. It writes no
layer.

With a plan, the spec's previous or --previous, it also says which layers the previous
image has, and what a host that has that image fetches. Every layering can be compared;
layering: stable keeps to the plan as well, as build does. Sizes are those of files, not
compressed.

With --simulate it reads no spec. DIR has the closures of an image as it changed: files as
nix path-info --json -r or exportReferencesGraph writes them, in the order of their names.
It divides each in every way and says what that would have sent. --max-layers and
--store-dir apply.`,
		Example: `  varve layers image.yaml --previous docker://ghcr.io/acme/app:1 --unlocked
  varve layers --simulate closures --max-layers 40`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, completeSpec),
		RunE:              c.run(func(ctx context.Context, args []string) error { return runLayers(ctx, c, o, args) }),
	}
	o.spec.Register(cmd, specGroups)
	c.registry.registerPlatform(cmd, "show the layers for `OS/ARCH[/VARIANT]`", buildPlatform)
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&o.json, "json", false, "print a JSON list with an object for each layer")
		f.StringVar(&o.simulate, "simulate", "", "compare the ways of dividing the closures in `DIR`")
	})
	c.registerBuild(cmd)
	return cmd
}

func runLayers(ctx context.Context, c *command, o *layersOptions, args []string) error {
	if o.simulate != "" {
		return simulate(ctx, c, o, args)
	}
	in, err := c.readSpec(&o.spec, args)
	if err != nil {
		return err
	}
	s, compare, err := o.parse(c, in)
	if err != nil {
		return err
	}
	var plan *base.Plan
	open := func(ctx context.Context, ref spec.Base) (layers [][]string, err error) {
		if plan, err = c.openPlan(ctx, s, ref, in.Lock()); err == nil {
			layers = plan.Layers
		}
		return layers, err
	}
	result, err := buildParsed(ctx, c, s, in.Lock(), func(opts *assemble.Options) { opts.OpenPlan = open })
	if err != nil {
		return err
	}
	defer result.Close()
	if compare != nil {
		if _, err := open(ctx, *compare); err != nil {
			return fmt.Errorf("--previous: %w", err)
		}
	}
	return c.printLayers(ctx, result, plan, o.json)
}

// printLayers prints the layers of an image, and what of them the image of a plan has; plan is nil
// for none.
func (c *command) printLayers(ctx context.Context, result *assemble.Result, plan *base.Plan, asJSON bool) error {
	if plan != nil {
		if err := result.MarkKept(ctx, plan.Layers, plan.DiffIDs); err != nil {
			return err
		}
	}
	if asJSON {
		return c.streams.PrintJSON(json.MarshalIndent(result.Layers, "", "  "))
	}
	text := assemble.PlanText(result.Layers)
	if plan != nil {
		p := result.Pull()
		text += fmt.Sprintf("kept: %s, %s\nnew: %s, %s\n", human.Count(p.KeptLayers, "layer"), human.Size(int64(p.KeptBytes)),
			human.Count(p.NewLayers, "layer"), human.Size(int64(p.NewBytes)))
	}
	return c.streams.Print(text)
}

// parse reads the spec. compare is what --previous names, if the spec's layering looks at no plan: it
// is compared all the same.
func (o *layersOptions) parse(c *command, in *specflags.Input) (s *spec.Spec, compare *spec.Base, err error) {
	at := slices.IndexFunc(o.spec.Settings, func(s spec.Setting) bool { return s.Field == "previous" })
	if at < 0 {
		s, err = c.parseOne(&o.spec, in)
		return s, nil, err
	}
	without := o.spec
	without.Settings = slices.Delete(slices.Clone(o.spec.Settings), at, at+1)
	if s, err = c.parseOne(&without, in); err != nil {
		return nil, nil, err
	}
	if s.Layering == spec.Stable && s.LayeringPipeline == nil {
		s, err = c.parseOne(&o.spec, in)
		return s, nil, err
	}
	// As a field of a spec it is checked.
	asked, err := spec.Parse(nil, spec.Options{Architecture: hostArchitecture, Settings: []spec.Setting{
		{Field: "name", Values: []string{s.Name}}, {Field: "layering", Values: []string{string(spec.Stable)}}, o.spec.Settings[at],
	}})
	if err != nil {
		return nil, nil, err
	}
	asked.Architecture, asked.Variant = s.Architecture, s.Variant
	ref, _ := asked.Plan()
	return s, &ref, nil
}
