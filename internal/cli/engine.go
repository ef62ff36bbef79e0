package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/place"
)

// The engines by their usual names, and by their transports.
var (
	engineNames = []string{"docker", "podman", "containerd"}
	engines     = []place.Transport{place.DockerDaemon, place.ContainersStorage, place.Containerd}
)

func newLoad(e *environment) *cobra.Command {
	c := newCommand(e)
	var into string
	var all bool
	cmd := &cobra.Command{
		Use:   "load IMAGE",
		Short: "Load images into Docker, Podman or containerd, without what is there already",
		Long: `load copies an image to an engine, after asking it whether it has the image already. IMAGE
is what inspect takes. The image keeps all of its names, or only the one in IMAGE. If
an archive holds several images, all are loaded; from an index, the one for --platform or,
with --all, the index with the images for all platforms, which takes an engine that keeps
manifests.

Of an image that the engine does not have, it gets the layers that it lacks; the last line says
how much that was. An engine that keeps manifests, as containerd does, has the digest that a
push of the image gave.

The engine is the one that docker or podman would use: DOCKER_HOST, DOCKER_CONTEXT or the
current context, CONTAINER_HOST or CONTAINER_CONNECTION name it. containerd is found by
CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE. Without these, the usual sockets are tried.`,
		Example: `  varve load hello.tar
  varve load oci:images:hello --into podman`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, c.completeImage),
		RunE: c.run(func(ctx context.Context, args []string) error {
			i := slices.Index(engineNames, into)
			if i < 0 {
				return cmdline.Usage(fmt.Errorf("--into %q: expected %s", into, cmdline.Alternatives(engineNames)))
			}
			if all {
				return runCopyAll(ctx, c, args[0], string(engines[i])+":")
			}
			return runCopy(ctx, c, args[0], string(engines[i])+":")
		}),
	}
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&into, "into", engineNames[0], "`ENGINE`: the engine to load the image into")
		cmdline.Choose(f, "into", engineNames)
		f.BoolVar(&all, "all", false, "load an index with the images for all platforms")
	})
	c.registerCopy(cmd)
	c.registerMetadata(cmd)
	return cmd
}
