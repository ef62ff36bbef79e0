package cli

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
)

func newSpec(e *environment) *cobra.Command {
	c := newCommand(e)
	flags := &specflags.Flags{}
	cmd := &cobra.Command{
		Use:   "spec [SPEC | -]",
		Short: "Print a spec as it is understood, with its defaults",
		Long: `spec checks a spec, or what flags say of an image, and prints it as it is understood: as
JSON, with all defaults, with the values of variables in their places, and with absolute
paths. What it prints is a spec of the same image. It reads no other file, and builds nothing.`,
		Example: `  varve spec image.yaml
  varve spec image.yaml --set VERSION=2 --platform linux/arm64`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, completeSpec),
		RunE: c.run(func(_ context.Context, args []string) error {
			in, err := c.readSpec(flags, args)
			if err != nil {
				return err
			}
			s, err := c.parseOne(flags, in)
			if err != nil {
				return err
			}
			data, err := s.MarshalJSON()
			if err != nil {
				return err
			}
			var out bytes.Buffer
			if err := json.Indent(&out, data, "", "  "); err != nil {
				return err
			}
			return c.streams.Print(out.String() + "\n")
		}),
	}
	flags.Register(cmd, specGroups)
	c.registry.registerPlatform(cmd, "read it for `OS/ARCH[/VARIANT]`", buildPlatform)
	return cmd
}
