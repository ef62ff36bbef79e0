package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
)

type layersOptions struct {
	spec specflags.Flags
	json bool
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
layer.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, completeSpec),
		RunE:              c.run(func(ctx context.Context, args []string) error { return runLayers(ctx, c, o, args) }),
	}
	o.spec.Register(cmd, specGroups)
	c.registry.registerPlatform(cmd, "show the layers for `OS/ARCH[/VARIANT]`", buildPlatform)
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&o.json, "json", false, "print a JSON list with an object for each layer")
	})
	c.registerBuild(cmd)
	return cmd
}

func runLayers(ctx context.Context, c *command, o *layersOptions, args []string) error {
	in, err := c.readSpec(&o.spec, args)
	if err != nil {
		return err
	}
	result, err := buildSpec(ctx, c, &o.spec, in)
	if err != nil {
		return err
	}
	defer result.Close()
	if o.json {
		return c.streams.PrintJSON(json.MarshalIndent(result.Layers, "", "  "))
	}
	return c.streams.Print(assemble.PlanText(result.Layers))
}
