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

func newLayers(g *global) *cobra.Command {
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
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLayers(cmd.Context(), g, o, args)
		},
	}
	o.spec.Register(cmd, specGroups)
	g.registry.registerPlatform(cmd, "show the layers for `OS/ARCH[/VARIANT]`", buildPlatform)
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&o.json, "json", false, "print a JSON list with an object for each layer")
	})
	g.registerBuild(cmd)
	return cmd
}

func runLayers(ctx context.Context, g *global, o *layersOptions, args []string) error {
	in, err := g.readSpec(&o.spec, args)
	if err != nil {
		return err
	}
	result, err := buildSpec(ctx, g, &o.spec, in)
	if err != nil {
		return err
	}
	defer result.Close()
	if o.json {
		text, err := json.MarshalIndent(result.Layers, "", "  ")
		if err != nil {
			return err
		}
		return g.print(string(text) + "\n")
	}
	return g.print(assemble.PlanText(result.Layers))
}
