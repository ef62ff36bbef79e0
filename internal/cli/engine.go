package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/place"
)

func newLoad(g *global) *cobra.Command {
	var into string
	cmd := &cobra.Command{
		Use:   "load IMAGE",
		Short: "Load images into Docker, Podman or containerd, if they are not there",
		Long: `load copies an image to an engine, which is asked first whether it has the image. It
keeps all its names, or the one that IMAGE names; of an archive of several all are
loaded, of those for several platforms the ones for --platform. IMAGE is what inspect takes. The engine is the one that docker or podman reaches, by
DOCKER_HOST, DOCKER_CONTEXT or the current context, CONTAINER_HOST or
CONTAINER_CONNECTION; containerd is where CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE
say. Without any it is looked for at its usual place.`,
		Example: `  varve load hello.tar
  varve load oci:images:hello --into podman`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			transports := map[string]place.Transport{"docker": place.DockerDaemon, "podman": place.ContainersStorage, "containerd": place.Containerd}
			transport, ok := transports[into]
			if !ok {
				return usageError(fmt.Errorf("--into %q: expected docker, podman or containerd", into))
			}
			return runCopy(cmd.Context(), g, args[0], string(transport)+":")
		},
	}
	cmd.Flags().StringVar(&into, "into", "docker", "docker, podman or containerd")
	return cmd
}
