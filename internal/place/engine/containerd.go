package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image/ordjson"
)

// Where containerd listens and keeps its images by default.
const (
	DefaultContainerdSocket    = "/run/containerd/containerd.sock"
	DefaultContainerdNamespace = "default"
)

// ContainerdOptions says where containerd is.
type ContainerdOptions struct {
	// Socket is the path of its socket (CONTAINERD_ADDRESS), which may begin with unix://; it
	// defaults to DefaultContainerdSocket.
	Socket string
	// Namespace is containerd's namespace for the images (CONTAINERD_NAMESPACE); it defaults to
	// DefaultContainerdNamespace. Kubernetes uses k8s.io, Docker moby.
	Namespace string
}

// Containerd returns a containerd, which is used through ctr. ctr takes the snapshotter from its
// configuration or CONTAINERD_SNAPSHOTTER.
func Containerd(opts ContainerdOptions) (Engine, error) {
	c := &containerd{ContainerdOptions: opts}
	if c.Namespace == "" {
		c.Namespace = DefaultContainerdNamespace
	}
	if c.Socket = strings.TrimPrefix(c.Socket, "unix://"); c.Socket == "" {
		c.Socket = DefaultContainerdSocket
	}
	if !filepath.IsAbs(c.Socket) {
		return nil, fmt.Errorf("containerd at %q: expected the absolute path of a socket", opts.Socket)
	}
	if !isIdentifier(c.Namespace) {
		return nil, fmt.Errorf("containerd namespace %q: expected letters, digits and single . _ - between them", opts.Namespace)
	}
	if err := look("ctr", "install containerd, which ctr belongs to"); err != nil {
		return nil, err
	}
	return c, nil
}

// isIdentifier reports whether containerd accepts s as an identifier (containerd,
// identifiers.Validate).
func isIdentifier(s string) bool {
	alphanumeric := false
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			alphanumeric = true
		case (c == '.' || c == '_' || c == '-') && alphanumeric:
			alphanumeric = false
		default:
			return false
		}
	}
	return alphanumeric && len(s) <= 76
}

type containerd struct {
	ContainerdOptions
	// local says whether ctr can be told to do its work itself.
	local learned[bool]
}

func (c *containerd) String() string {
	return fmt.Sprintf("containerd at %q, namespace %q", c.Socket, c.Namespace)
}

func (c *containerd) args(args ...string) []string {
	return append([]string{"--address", c.Socket, "--namespace", c.Namespace}, args...)
}

// reach checks that containerd is listening: ctr itself would wait for it.
func (c *containerd) reach(ctx context.Context) error {
	h := host{text: c.Socket, network: "unix", address: c.Socket}
	conn, err := h.dial(ctx)
	if err != nil {
		return h.explain("containerd", err)
	}
	return conn.Close()
}

// Identify returns the digests of the image's manifest, or index, and of the config of its one
// manifest.
func (c *containerd) Identify(ctx context.Context, name string) (Identity, error) {
	if err := c.reach(ctx); err != nil {
		return Identity{}, err
	}
	full, err := fullName(name)
	if err != nil {
		return Identity{}, err
	}
	return c.identify(ctx, full)
}

// identify returns what is known of the image with that name, in full.
func (c *containerd) identify(ctx context.Context, full string) (id Identity, err error) {
	table, err := output(ctx, maxReport, "ctr", c.args("images", "ls", "name=="+full)...)
	if err != nil {
		return id, err
	}
	target, ok := targetOf(string(table), full)
	if !ok {
		return id, notThere(full)
	}
	if id.Manifest, err = digest.Parse(target); err != nil {
		return id, fmt.Errorf("ctr says that the image is %q, which is not a digest", target)
	}
	blobs, err := c.contents(ctx)
	if err != nil || !blobs[id.Manifest] {
		id.Incomplete = true
		return id, err
	}
	o, err := c.document(ctx, id.Manifest)
	if err != nil {
		return id, err
	}
	if only, ok := onlyManifest(o); ok && blobs[only] {
		if o, err = c.document(ctx, only); err != nil {
			return id, err
		}
	}
	missing := func(d digest.Digest) bool { return !blobs[d] }
	config, layers, err := listed(o)
	if err != nil {
		return id, fmt.Errorf("manifest %s: %w", id.Manifest, err)
	}
	if config != "" {
		id.ID = config
		id.Incomplete = slices.ContainsFunc(append(layers, config), missing)
		return id, nil
	}
	// An index of several manifests has no single config.
	id.Incomplete, err = c.lacks(ctx, o, missing)
	return id, err
}

// lacks reports whether anything is missing of the images in an index.
func (c *containerd) lacks(ctx context.Context, index *ordjson.Object, missing func(digest.Digest) bool) (bool, error) {
	manifests, err := manifestsOf(index)
	if err != nil || len(manifests) > maxManifests || slices.ContainsFunc(manifests, missing) {
		return true, err
	}
	for _, d := range manifests {
		o, err := c.document(ctx, d)
		if err != nil {
			return true, err
		}
		config, layers, err := listed(o)
		if err != nil {
			return true, fmt.Errorf("manifest %s: %w", d, err)
		}
		if config != "" && slices.ContainsFunc(append(layers, config), missing) {
			return true, nil
		}
	}
	return false, nil
}

// maxManifests limits how many manifests of an index are looked at.
const maxManifests = 100

// manifestsOf returns the digests that an index lists.
func manifestsOf(index *ordjson.Object) ([]digest.Digest, error) {
	v, _ := index.Get("manifests")
	list, _ := v.([]any)
	var all []digest.Digest
	for i, item := range list {
		o, _ := item.(*ordjson.Object)
		d, err := digestOf(o)
		if err != nil {
			return nil, fmt.Errorf("manifest %d: %w", i+1, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// listed returns the digests of the config and the layers in a manifest; "" for what is none.
func listed(manifest *ordjson.Object) (config digest.Digest, layers []digest.Digest, err error) {
	o, err := manifest.Object("config")
	if err != nil || o == nil {
		return "", nil, err
	}
	if config, err = digestOf(o); err != nil {
		return "", nil, fmt.Errorf("config: %w", err)
	}
	v, _ := manifest.Get("layers")
	list, _ := v.([]any)
	for i, item := range list {
		o, _ := item.(*ordjson.Object)
		d, err := digestOf(o)
		if err != nil {
			return "", nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		layers = append(layers, d)
	}
	return config, layers, nil
}

func digestOf(descriptor *ordjson.Object) (digest.Digest, error) {
	if descriptor == nil {
		return "", errors.New("it has no descriptor")
	}
	text, err := descriptor.String("digest")
	if err != nil {
		return "", err
	}
	return digest.Parse(text)
}

// targetOf finds an image's digest in the table of `ctr images ls`: REF, TYPE,
// DIGEST and more.
func targetOf(table, name string) (string, bool) {
	for line := range strings.Lines(table) {
		first, rest := nextField(line)
		_, rest = nextField(rest)
		if third, _ := nextField(rest); third != "" && first == name {
			return third, true
		}
	}
	return "", false
}

// nextField splits a line after its first word: a line may have any number of words.
func nextField(line string) (field, rest string) {
	line = strings.TrimLeftFunc(line, unicode.IsSpace)
	end := strings.IndexFunc(line, unicode.IsSpace)
	if end < 0 {
		return line, ""
	}
	return line[:end], line[end:]
}

// onlyManifest returns the manifest of an index that lists no other.
func onlyManifest(index *ordjson.Object) (digest.Digest, bool) {
	all, err := manifestsOf(index)
	if err != nil || len(all) != 1 {
		return "", false
	}
	return all[0], true
}

// document reads a manifest or an index.
func (c *containerd) document(ctx context.Context, want digest.Digest) (*ordjson.Object, error) {
	data, err := output(ctx, maxInspect, "ctr", c.args("content", "get", want.String())...)
	if err != nil {
		return nil, err
	}
	if got := want.Algorithm().FromBytes(data); got != want {
		return nil, fmt.Errorf("ctr gives content %s for %s", got, want)
	}
	o, err := ordjson.ParseObject(data, "config", "layers", "manifests")
	if err != nil {
		return nil, fmt.Errorf("content %s: %w", want, err)
	}
	return o, nil
}

// Save makes ctr export the image: an OCI archive that is a docker-archive too.
func (c *containerd) Save(ctx context.Context, name, platform string) (io.ReadCloser, error) {
	full, err := fullName(name)
	if err != nil {
		return nil, err
	}
	args := c.locally(ctx, "images", "export")
	if platform != "" {
		args = append(args, "--platform", platform)
	}
	return saved(ctx, "ctr", c.args(append(args, "-", full)...)...)
}
