package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/engine"
	"github.com/varve-image/varve/internal/tarindex"
)

// The transports of engines, as skopeo calls them.
const (
	dockerDaemon      = "docker-daemon"
	containerd        = "containerd"
	containersStorage = "containers-storage"
)

// isEngine tells a transport that is an engine's.
func isEngine(transport string) bool {
	return transport == dockerDaemon || transport == containerd || transport == containersStorage
}

// engine returns the engine of a transport, where the environment says that it
// is.
func (g *global) engine(ctx context.Context, transport string) (engine.Engine, error) {
	env := func(name string) string {
		value, _ := g.streams.LookupEnv(name)
		return value
	}
	var e engine.Engine
	var err error
	switch transport {
	case dockerDaemon:
		e, err = engine.Docker(engine.DockerOptions{
			Host: env("DOCKER_HOST"), Context: env("DOCKER_CONTEXT"), ConfigDir: dockerConfigDir(env),
			TLS: env("DOCKER_TLS") != "", TLSVerify: env("DOCKER_TLS_VERIFY") != "", CertDir: env("DOCKER_CERT_PATH"),
		})
	case containerd:
		e, err = engine.Containerd(engine.ContainerdOptions{Socket: env("CONTAINERD_ADDRESS"), Namespace: env("CONTAINERD_NAMESPACE")})
	default:
		sockets := []string{"/run/podman/podman.sock"}
		if dir := env("XDG_RUNTIME_DIR"); dir != "" {
			sockets = []string{dir + "/podman/podman.sock", sockets[0]}
		}
		e, err = engine.Podman(ctx, engine.PodmanOptions{
			Host: env("CONTAINER_HOST"), Identity: env("CONTAINER_SSHKEY"), Connection: env("CONTAINER_CONNECTION") != "",
			Sockets: sockets, TempDir: g.tempDir(),
		})
	}
	if err != nil {
		return nil, usageError(engineError(err)) // what the environment or a context says
	}
	return e, nil
}

// dockerConfigDir is where Docker keeps what its client is told; empty if that is
// nowhere.
func dockerConfigDir(env func(string) string) string {
	if dir := env("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	if home := env("HOME"); home != "" {
		return filepath.Join(home, ".docker")
	}
	return ""
}

// engineError tells what the user, or the machine, has to mend from what
// failed.
func engineError(err error) error {
	var missing *engine.MissingError
	switch {
	case errors.As(err, &missing):
		return hint(err, missing.Hint)
	case errors.Is(err, engine.ErrNotFound):
		return usageError(err)
	}
	return err
}

// toEngine loads an image into an engine, if the engine lacks it.
func (g *global) toEngine(ctx context.Context, img *image.Image, d *destination, opts dockerarchive.Options) error {
	e, err := g.engine(ctx, d.kind)
	if err != nil {
		return usageError(err)
	}
	loaded, err := engine.Load(ctx, e, img, func(ctx context.Context, w io.Writer) error {
		return dockerarchive.Write(ctx, w, img, opts)
	})
	if err != nil {
		return engineError(err)
	}
	name := plain(strings.Join(loaded.Names, ", "))
	if loaded.Present {
		g.ui.Info("%s has %s already", e, cmp.Or(name, loaded.ID.String()))
		return nil
	}
	g.ui.Info("%s: image %s, id %s, %s", e, cmp.Or(name, "without a name"), loaded.ID, plural(len(img.Layers), "layer"))
	return nil
}

// fromEngine opens the archive of an image that an engine has.
func (g *global) fromEngine(ctx context.Context, transport, name string) (image.Source, error) {
	e, err := g.engine(ctx, transport)
	if err != nil {
		return nil, err
	}
	r, err := engine.Open(ctx, e, name)
	if err != nil {
		return nil, engineError(err)
	}
	defer r.Close()
	t, err := tarindex.Read(ctx, r, g.archiveOptions())
	src, err := openTar(ctx, dockerArchive, transport+":"+name, t, err)
	return src, engineError(err)
}

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
			transports := map[string]string{"docker": dockerDaemon, "podman": containersStorage, "containerd": containerd}
			transport, ok := transports[into]
			if !ok {
				return usageError(fmt.Errorf("--into %q: expected docker, podman or containerd", into))
			}
			return runCopy(cmd.Context(), g, args[0], transport+":")
		},
	}
	cmd.Flags().StringVar(&into, "into", "docker", "docker, podman or containerd")
	return cmd
}

// cutTransport takes a reference apart at its transport.
func cutTransport(ref string) (transport, rest string, ok bool) {
	transport, rest, ok = strings.Cut(ref, ":")
	switch transport {
	case dockerRegistry:
		rest, ok = strings.CutPrefix(rest, "//")
		return transport, rest, ok
	case dockerArchive, ociDir, ociArchive, layerDir, imageDir, dockerDaemon, containerd, containersStorage:
		return transport, rest, ok
	}
	return "", ref, false
}
