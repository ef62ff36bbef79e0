package enginetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// containerd is a containerd of its own, used through ctr.
//
// Found on Debian 12's containerd 1.6: ctr makes its FIFOs in /run/containerd
// unless told otherwise, and both sides must see them. A container's cgroup is
// named after its id alone, so ids must differ between test binaries. ctr exits
// with 1 for a failure of its own too; "ctr: " on stderr distinguishes the two.
type containerd struct {
	home        *home
	socket      string
	snapshotter string
	containers  atomic.Int64
}

func startContainerd(h *home) (Engine, func(), error) {
	if err := need("containerd", "ctr", "runc"); err != nil {
		return nil, nil, err
	}
	dir, err := h.sub("containerd")
	if err != nil {
		return nil, nil, err
	}
	root, env, err := h.data("containerd", "root")
	if err != nil {
		return nil, nil, err
	}
	c := &containerd{home: h, socket: filepath.Join(dir, "sock"), snapshotter: "native"}
	if overlayWorks(filepath.Join(dir, "probe")) {
		c.snapshotter = "overlayfs"
	}
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart"]
[grpc]
address = %q
[ttrpc]
address = %q
`, root, filepath.Join(dir, "state"), c.socket, c.socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, nil, fmt.Errorf("configure containerd: %w", err)
	}
	ready := func() error {
		_, err := check(context.Background(), c, "version")
		return err
	}
	process, err := startDaemon(filepath.Join(dir, "log"), ready, environment(h.dir, env...), "containerd", "--config", config)
	if err != nil {
		return nil, nil, err
	}
	return c, process.stop, nil
}

func (c *containerd) Name() string { return "containerd" }

func (c *containerd) Address() string { return c.socket }

func (c *containerd) Command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--address", c.socket, "--namespace", "varve"}, args...)
	cmd := exec.CommandContext(ctx, "ctr", args...)
	cmd.Env = environment(c.home.dir)
	return cmd
}

func (c *containerd) Load(ctx context.Context, path string) (string, error) {
	before, err := c.images(ctx)
	if err != nil {
		return "", err
	}
	stdout, err := check(ctx, c, "image", "import", "--snapshotter", c.snapshotter, path)
	if err != nil {
		return "", err
	}
	if line, ok := field(stdout, "unpacking "); ok {
		name, _, _ := strings.Cut(line, " (")
		return name, nil
	}
	// Since 2.0 it shows a table, where a name loses its dashes, or nothing if it is done
	// before the table is drawn.
	digest := ""
	if _, line, ok := strings.Cut(stdout, " sha256:"); ok {
		digest = "sha256:" + strings.Fields(line)[0]
	}
	after, err := c.images(ctx)
	if err != nil {
		return "", err
	}
	for name, its := range after {
		if its == digest && strings.Contains(stdout, strings.ReplaceAll(name, "-", " ")) || digest == "" && before[name] != its {
			return name, nil
		}
	}
	return "", fmt.Errorf("ctr image import names no image that is there: %q, %v", stdout, after)
}

// images returns the digests of the images that there are, by name.
func (c *containerd) images(ctx context.Context) (map[string]string, error) {
	stdout, err := check(ctx, c, "image", "ls")
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for line := range strings.Lines(stdout) {
		if fields := strings.Fields(line); len(fields) > 2 && strings.HasPrefix(fields[2], "sha256:") {
			digests[fields[0]] = fields[2]
		}
	}
	return digests, nil
}

func (c *containerd) Run(ctx context.Context, image string, args ...string) (Result, error) {
	r, err := c.run(ctx, image, args...)
	if err == nil && r.Stdout+r.Stderr == "" { // ctr may lose what a container writes that ends at once
		return c.run(ctx, image, args...)
	}
	return r, err
}

func (c *containerd) run(ctx context.Context, image string, args ...string) (Result, error) {
	id := fmt.Sprintf("varve-%d-%d", os.Getpid(), c.containers.Add(1))
	fifos := filepath.Join(c.home.dir, "containerd", "fifos")
	args = append([]string{"run", "--rm", "--snapshotter", c.snapshotter, "--fifo-dir", fifos, image, id}, args...)
	ownFailure := func(r Result) bool { return r.ExitCode == 1 && strings.Contains(r.Stderr, "ctr: ") }
	r, err := run(ctx, c, ownFailure, args...)
	r.Stderr = withoutDeprecations(r.Stderr)
	return r, err
}

// withoutDeprecations removes what ctr writes to stderr, since 2.2, on a machine with cgroups v1.
func withoutDeprecations(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "DEPRECATION: The support for cgroup v1") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func (c *containerd) Remove(ctx context.Context, image string) error {
	_, err := check(ctx, c, "image", "rm", "--sync", image)
	return err
}
