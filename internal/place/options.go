package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place/engine"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/tarindex"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// Options holds what places need besides a reference. The zero value has no standard input and
// output, uses registries without a login, and looks for engines at their usual places.
type Options struct {
	// Stdin returns standard input, for a reference to "-"; Stdout is standard output.
	Stdin  func() (io.Reader, error)
	Stdout io.Writer
	// TempDir is where archives are unpacked; it defaults to the system's directory for that.
	TempDir string
	// MaxUnpacked limits what an archive, or the layers of an image, unpack to, in bytes; it
	// defaults to 64 GiB. MaxEntries limits the entries of the layers; it defaults to two
	// million.
	MaxUnpacked int64
	MaxEntries  int
	// Registry returns how to talk to the registry of a reference, HOST/NAME…. It is called when
	// that is needed.
	Registry func(ref string) (registry.Options, error)
	// Env returns a variable of the environment, or "": some say where engines are.
	Env func(name string) string
	// Program opens the image that a program made by streamLayeredImage would write; nil refuses
	// programs.
	Program func(ctx context.Context, path string) (image.Source, error)
	// Memo, where it is set, opens what remembers the digests of layers, and what they are
	// compressed to; nil is none.
	Memo func(ctx context.Context) *memo.Memo
	// Pushed, where it is set, is what images that were pushed before tell of layers.
	Pushed *Pushed
	// Warn and Debug, where they are set, are called with what is odd, and with what was found.
	Warn, Debug func(text string)

	// platform is asked for where an engine has an image for several: see For.
	platform string
}

// For returns options with which Open asks an engine that has an image for several platforms for the
// one for p, in the form OS/ARCH[/VARIANT]; other places list all of them.
func (o Options) For(p v1.Platform) Options {
	o.platform = ocijson.PlatformText(&p)
	return o
}

func (o Options) warn(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(fmt.Sprintf(format, args...))
	}
}

func (o Options) debug(format string, args ...any) {
	if o.Debug != nil {
		o.Debug(fmt.Sprintf(format, args...))
	}
}

// LayerMemo returns what remembers the digests of layers, or nil.
func (o Options) LayerMemo(ctx context.Context) layer.Memo {
	if o.Memo == nil {
		return nil
	}
	return o.Memo(ctx).ForLayers()
}

// StoredMemo returns what remembers what is in stored images, or nil.
func (o Options) StoredMemo(ctx context.Context) image.StoredMemo {
	if o.Memo == nil {
		return nil
	}
	return o.Memo(ctx).ForStored()
}

// memo returns what is known of layers that are to be compressed, or nil.
func (o Options) memo(ctx context.Context) image.Memo {
	r := remembered{pushed: o.Pushed}
	if o.Memo != nil {
		r.Memo = o.Memo(ctx)
	}
	if r.pushed == nil {
		return r.Memo.ForBlobs()
	}
	return r
}

// RegistryOptions returns how to talk to the registry of a reference.
func (o Options) RegistryOptions(ref string) (registry.Options, error) {
	if o.Registry == nil {
		return registry.Options{}, nil
	}
	return o.Registry(ref)
}

func (o Options) env(name string) string {
	if o.Env == nil {
		return ""
	}
	return o.Env(name)
}

func (o Options) archive() tarindex.Options {
	return tarindex.Options{TempDir: o.TempDir, MaxBytes: o.MaxUnpacked}
}

// OverlayOptions returns these options' limits for the file system of an image.
func (o Options) OverlayOptions() tree.OverlayOptions {
	return tree.OverlayOptions{TempDir: o.TempDir, MaxBytes: o.MaxUnpacked, MaxEntries: o.MaxEntries}
}

// TarOptions returns these options' limits for a tarball.
func (o Options) TarOptions() tree.TarOptions {
	return tree.TarOptions{TempDir: o.TempDir, MaxBytes: o.MaxUnpacked, MaxEntries: o.MaxEntries}
}

// Output returns an output to the file at path, which appears whole or not at all, or to
// standard output for -.
func (o Options) Output(path string) image.Output {
	if path != "-" {
		return atomicfile.Output(path)
	}
	return func(fill func(io.Writer) error) error {
		if o.Stdout == nil {
			return errors.New("there is no standard output")
		}
		return fill(o.Stdout)
	}
}

// engine returns the engine of a transport, at the place that the environment names.
func (o Options) engine(ctx context.Context, t Transport) (engine.Engine, error) {
	e, err := o.findEngine(ctx, t)
	if err != nil {
		return nil, &EngineError{err}
	}
	o.debug("%s: is %s", t, e)
	return e, nil
}

func (o Options) findEngine(ctx context.Context, t Transport) (engine.Engine, error) {
	switch t {
	case DockerDaemon:
		return engine.Docker(engine.DockerOptions{
			Host: o.env("DOCKER_HOST"), Context: o.env("DOCKER_CONTEXT"), ConfigDir: o.dockerConfigDir(),
			TLS: o.env("DOCKER_TLS") != "", TLSVerify: o.env("DOCKER_TLS_VERIFY") != "", CertDir: o.env("DOCKER_CERT_PATH"),
		})
	case Containerd:
		return engine.Containerd(engine.ContainerdOptions{Socket: o.env("CONTAINERD_ADDRESS"), Namespace: o.env("CONTAINERD_NAMESPACE")})
	}
	sockets := []string{"/run/podman/podman.sock"}
	if dir := o.env("XDG_RUNTIME_DIR"); dir != "" {
		sockets = []string{dir + "/podman/podman.sock", sockets[0]}
	}
	return engine.Podman(ctx, engine.PodmanOptions{
		Host: o.env("CONTAINER_HOST"), Identity: o.env("CONTAINER_SSHKEY"), Connection: o.env("CONTAINER_CONNECTION") != "",
		Sockets: sockets, TempDir: o.TempDir,
	})
}

// dockerConfigDir returns the directory of the Docker client's configuration, or "" if there is
// none.
func (o Options) dockerConfigDir() string {
	if dir := o.env("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	if home := o.env("HOME"); home != "" {
		return filepath.Join(home, ".docker")
	}
	return ""
}

// EngineError says that what the environment, or a context, says of an engine is invalid.
type EngineError struct{ Err error }

func (e *EngineError) Error() string { return e.Err.Error() }

func (e *EngineError) Unwrap() error { return e.Err }
