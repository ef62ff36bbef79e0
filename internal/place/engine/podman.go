package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/lack"
)

// PodmanOptions says where Podman is.
type PodmanOptions struct {
	// Host is Podman's service as in CONTAINER_HOST: unix:///PATH, tcp://HOST:PORT or
	// ssh://USER@HOST/PATH. It defaults to the first of Sockets that answers, and if none does,
	// to the commands of Storage.
	Host string
	// Identity is a key file for an ssh:// Host (CONTAINER_SSHKEY).
	Identity string
	// Connection says that the environment of podman names one of its connections
	// (CONTAINER_CONNECTION): its commands go there, and it takes precedence over Host.
	Connection bool
	// Sockets are paths where the service may listen:
	// $XDG_RUNTIME_DIR/podman/podman.sock, and for root
	// /run/podman/podman.sock.
	Sockets []string
	// TempDir is where an archive for skopeo, if it has to be used, is kept in a file without a
	// name; it defaults to the system's directory for such files.
	TempDir string
}

// Podman returns Podman: its service if there is one, and otherwise its storage.
func Podman(ctx context.Context, opts PodmanOptions) (Engine, error) {
	const product = "Podman"
	if opts.Connection {
		if err := look("podman", "install podman, whose connection CONTAINER_CONNECTION names, or say where it listens by CONTAINER_HOST"); err != nil {
			return nil, err
		}
		return podman{}, nil
	}
	if opts.Host != "" {
		a, err := newAPI(product, endpoint{host: opts.Host})
		if err == nil && a.host.ssh != nil {
			a.host.ssh.client, a.host.ssh.identity = "podman", opts.Identity
		}
		return a, err
	}
	for _, socket := range opts.Sockets {
		a, err := newAPI(product, endpoint{host: "unix://" + socket})
		if err != nil {
			return nil, err
		}
		if conn, err := a.host.dial(ctx); err == nil {
			conn.Close()
			return a, nil
		}
	}
	return Storage(opts.TempDir)
}

// Storage returns the storage of this user's Podman, Buildah and CRI-O
// (containers-storage), which podman, or else skopeo, reads and writes.
// tempDir is PodmanOptions.TempDir.
func Storage(tempDir string) (Engine, error) {
	const hint = "install podman or skopeo"
	if look("podman", hint) == nil {
		return podman{}, nil
	}
	if look("skopeo", hint) == nil {
		return skopeo{tempDir}, nil
	}
	return nil, &lack.Error{Err: errors.New("podman's storage: neither podman nor skopeo is installed"), Hints: []string{hint}}
}

// podman is Podman's storage, through podman's commands.
type podman struct{}

func (podman) String() string { return "Podman" }

func (podman) Identify(ctx context.Context, name string) (Identity, error) {
	_, err := output(ctx, maxText, "podman", "image", "exists", name)
	var exit *exitError
	if errors.As(err, &exit) && exit.code == 1 {
		return Identity{}, notThere(name)
	}
	if err != nil {
		return Identity{}, err
	}
	text, err := output(ctx, maxText, "podman", "image", "inspect", "--format", "{{.Id}}", name)
	if err != nil {
		return Identity{}, err
	}
	id, err := digest.Parse("sha256:" + strings.TrimSpace(string(text)))
	if err != nil {
		return Identity{}, fmt.Errorf("podman says that the id of image %q is %s", name, shown(string(text)))
	}
	return Identity{ID: id}, nil
}

// Load leaves out the layers that any image has: podman finds them by their diffIDs.
func (podman) Load(ctx context.Context, img *Image) ([]string, error) {
	if img.Index {
		return nil, errIndex
	}
	has := func(int) bool { return false }
	if img.all() > minSpared {
		has = img.among(podmanLayers(ctx))
	}
	return img.sparingly(ctx, Form{Kind: Hybrid}, has, func(ctx context.Context, form Form) ([]string, error) {
		text, err := feed(ctx, img.write(form), "podman", "load", "--quiet")
		if err != nil {
			return nil, err
		}
		return loadedNames(text), nil
	})
}

// podmanLayers returns the diffIDs of the layers that podman has, as far as it says so. It may lose
// them at any time.
func podmanLayers(ctx context.Context) map[digest.Digest]bool {
	layers := map[digest.Digest]bool{}
	text, err := output(ctx, maxInspect, "podman", "image", "ls", "-q", "--no-trunc")
	if err != nil {
		return layers
	}
	ids := strings.Fields(string(text))
	ids = slices.Compact(ids[:min(len(ids), maxAsked)])
	if len(ids) == 0 {
		return layers
	}
	args := append([]string{"image", "inspect", "--format", "{{range .RootFS.Layers}}{{.}} {{end}}"}, ids...)
	// One of the images may be gone by now: what is said of the others counts.
	text, _ = output(ctx, maxInspect, "podman", args...)
	for d := range strings.FieldsSeq(string(text)) {
		layers[digest.Digest(d)] = true
	}
	return layers
}

// Save has no choice: each of Podman's images is for one platform.
func (podman) Save(ctx context.Context, name, _ string) (io.ReadCloser, error) {
	return saved(ctx, "podman", "save", "--quiet", "--format", "docker-archive", name)
}

// skopeo is the same storage, through skopeo.
type skopeo struct{ tempDir string }

func (skopeo) String() string { return "containers-storage" }

func (skopeo) Identify(ctx context.Context, name string) (Identity, error) {
	config, err := output(ctx, maxInspect, "skopeo", "inspect", "--config", "--raw", "containers-storage:"+name)
	var exit *exitError
	if errors.As(err, &exit) && strings.Contains(exit.stderr, "does not resolve to an image ID") {
		return Identity{}, notThere(name)
	}
	if err != nil {
		return Identity{}, err
	}
	return Identity{ID: digest.FromBytes(config)}, nil
}

// Load gives skopeo a file: skopeo reads an archive more than once, and gives an image one name
// at a time.
func (s skopeo) Load(ctx context.Context, img *Image) ([]string, error) {
	if img.Index {
		return nil, errIndex
	}
	if len(img.Names) == 0 {
		return nil, errors.New("skopeo gives no image to the storage that has no name: put one behind it, containers-storage:NAME:TAG, or install podman")
	}
	file, err := atomicfile.Unnamed(s.tempDir)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := img.write(Form{Kind: DockerArchive})(ctx, file); err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	watch := newWatch(ctx)
	defer watch.stop()
	watch.total = info.Size()
	watch.sent()
	for _, name := range img.Names {
		p := newProcess(watch.ctx, "skopeo", "copy", "--quiet", "docker-archive:/dev/fd/3", "containers-storage:"+name)
		p.ExtraFiles = []*os.File{file}
		if err := p.failed(p.Run()); err != nil {
			return nil, ended(watch.ctx, err)
		}
	}
	return img.Names, nil
}

func (skopeo) Save(ctx context.Context, name, _ string) (io.ReadCloser, error) {
	full, err := fullName(name)
	if err != nil {
		return nil, err
	}
	return saved(ctx, "skopeo", "copy", "--quiet", "containers-storage:"+name, "docker-archive:/dev/stdout:"+full)
}
