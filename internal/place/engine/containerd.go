package engine

import (
	"context"
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
	c := containerd{opts}
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

// nameless is the name of an image without a name, before its digest.
const nameless = "import"

type containerd struct{ ContainerdOptions }

func (c containerd) String() string {
	return fmt.Sprintf("containerd at %q, namespace %q", c.Socket, c.Namespace)
}

func (c containerd) args(args ...string) []string {
	return append([]string{"--address", c.Socket, "--namespace", c.Namespace}, args...)
}

// reach checks that containerd is listening: ctr itself would wait for it.
func (c containerd) reach(ctx context.Context) error {
	h := host{text: c.Socket, network: "unix", address: c.Socket}
	conn, err := h.dial(ctx)
	if err != nil {
		return h.explain("containerd", err)
	}
	return conn.Close()
}

// ID returns the digest of the config of the image's one manifest. containerd itself identifies
// images by their manifests.
func (c containerd) ID(ctx context.Context, name string) (digest.Digest, error) {
	if err := c.reach(ctx); err != nil {
		return "", err
	}
	full, err := fullName(name)
	if err != nil {
		return "", err
	}
	table, err := output(ctx, maxReport, "ctr", c.args("images", "ls", "name=="+full)...)
	if err != nil {
		return "", err
	}
	target, ok := targetOf(string(table), full)
	if !ok {
		return "", notThere(full)
	}
	return c.configOf(ctx, target)
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

// configOf returns the digest of the config of an image's target. An index of several manifests
// has no single config.
func (c containerd) configOf(ctx context.Context, target string) (digest.Digest, error) {
	for range 2 {
		o, err := c.document(ctx, target)
		if err != nil {
			return "", err
		}
		if config, err := o.Object("config"); err != nil || config != nil {
			text, textErr := config.String("digest")
			id, parseErr := digest.Parse(text)
			if err != nil || textErr != nil || parseErr != nil {
				return "", fmt.Errorf("manifest %s: its config has no digest", target)
			}
			return id, nil
		}
		only, ok := onlyManifest(o)
		if !ok {
			return "", nil
		}
		target = only
	}
	return "", nil
}

func onlyManifest(index *ordjson.Object) (string, bool) {
	v, _ := index.Get("manifests")
	list, _ := v.([]any)
	if len(list) != 1 {
		return "", false
	}
	d, _ := list[0].(*ordjson.Object)
	text, err := d.String("digest")
	return text, err == nil
}

// document reads a manifest or an index.
func (c containerd) document(ctx context.Context, target string) (*ordjson.Object, error) {
	want, err := digest.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("ctr says that the image is %q, which is not a digest", target)
	}
	data, err := output(ctx, maxInspect, "ctr", c.args("content", "get", want.String())...)
	if err != nil {
		return nil, err
	}
	if got := want.Algorithm().FromBytes(data); got != want {
		return nil, fmt.Errorf("ctr gives content %s for %s", got, want)
	}
	o, err := ordjson.ParseObject(data, "config", "manifests")
	if err != nil {
		return nil, fmt.Errorf("content %s: %w", want, err)
	}
	return o, nil
}

// Load makes ctr import the archive and unpack the image. containerd keeps nothing without a
// name: an image without one is named after its digest, as ctr does.
func (c containerd) Load(ctx context.Context, names []string, write WriteFunc) ([]string, error) {
	args := []string{"images", "import"}
	if len(names) == 0 {
		args = append(args, "--digests", "--base-name", nameless)
	}
	text, err := feed(ctx, write, "ctr", c.args(append(args, "-")...)...)
	if err != nil {
		return nil, err
	}
	return importedNames(text), nil
}

// importedNames returns the names in the lines of ctr: "unpacking NAME (DIGEST)...".
func importedNames(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "unpacking "); ok {
			name, _, _ := strings.Cut(rest, " (")
			names = addNames(names, slices.Values([]string{name}))
		}
	}
	return names
}

// Save makes ctr export the image: an OCI archive that is a docker-archive too.
func (c containerd) Save(ctx context.Context, name string) (io.ReadCloser, error) {
	full, err := fullName(name)
	if err != nil {
		return nil, err
	}
	return saved(ctx, "ctr", c.args("images", "export", "-", full)...)
}
