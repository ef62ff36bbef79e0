package cli

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/dockertools"
)

// newNixBuild makes the command that builds the Nix expressions' derivations.
// Nobody else calls it.
func newNixBuild(e *environment) *cobra.Command {
	c := newCommand(e)
	c.stepLimits.time = 0 // Nix has its own time limit
	c.cache.off = true    // it would be gone with the sandbox
	cmd := &cobra.Command{
		Use:    "nix-build",
		Short:  "Build a derivation of varve's Nix expressions, from .attrs.json",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			return c.dockerTools().BuildDerivation(ctx, attrsFile(c))
		}),
	}
	c.registerStore(cmd)
	c.limits.register(cmd)
	return cmd
}

// attrsFile returns the file in which Nix puts the attributes of a derivation with
// __structuredAttrs, and the graphs that exportReferencesGraph asks for. In a
// sandbox, some versions of Nix name the file by its path outside.
func attrsFile(c *command) string {
	if file, ok := c.streams.LookupEnv("NIX_ATTRS_JSON_FILE"); ok {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ".attrs.json"
}

// newNixRun makes the command that runs programs made by the Nix expressions, as
// the interpreter named in their first line. Nobody else calls it.
func newNixRun() *cobra.Command {
	return &cobra.Command{
		Use:                "nix-run FILE [ARG...]",
		Short:              "Run a program of varve's Nix expressions",
		Hidden:             true,
		DisableFlagParsing: true, // the flags are the program's
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmdline.Usage(errors.New("no program to run"))
			}
			own, err := dockertools.ProgramArgs(args[0])
			if err != nil {
				return err
			}
			root := cmd.Root()
			root.SetArgs(append(own, args[1:]...))
			return root.ExecuteContext(cmd.Context())
		},
	}
}
