package enginetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// docker is a dockerd of its own, and Docker's client.
//
// Found on Debian 12's Docker 20.10: it runs under cgroups v1, v2 and the mix
// of both, with no options for them. --bridge=none and --iptables=false are
// enough for a machine on which the network must not be touched; the
// containers then have to be run with --network none. The storage driver that
// it chooses itself is overlay2 where that works, else vfs. It starts and ends
// a containerd of its own.
//
// Found on Docker 29: it is used with Debian's client, and writes a warning of cgroups v1. Where it
// keeps images is chosen by a feature, which 20.10 does not know.
type docker struct {
	name   string
	client string
	host   string
	home   *home
	env    []string
}

// startDocker starts Docker as it is by default: with containerd's store since 29, before that
// with its own.
func startDocker(h *home) (Engine, func(), error) { return startDockerd(h, "docker") }

// startClassic starts a current Docker with its own store, as it was the default before 29.
func startClassic(h *home) (Engine, func(), error) {
	return startDockerd(h, "docker-classic", "--feature", "containerd-snapshotter=false")
}

func startDockerd(h *home, name string, options ...string) (Engine, func(), error) {
	if err := need("dockerd", "containerd", "runc"); err != nil {
		return nil, nil, err
	}
	// Debian's client first: another one in PATH may be newer than its daemon.
	client, err := find("/usr/bin/docker", "docker")
	if err != nil {
		return nil, nil, err
	}
	dir, err := h.sub(name)
	if err != nil {
		return nil, nil, err
	}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o644); err != nil {
		return nil, nil, fmt.Errorf("configure dockerd: %w", err)
	}
	data, env, err := h.data(name, "data")
	if err != nil {
		return nil, nil, err
	}
	socket := "unix://" + filepath.Join(dir, "sock")
	d := &docker{name: name, client: client, host: socket, home: h, env: environment(h.dir, "DOCKER_HOST="+socket, "DOCKER_CONFIG="+dir)}
	ready := func() error {
		_, err := check(context.Background(), d, "version")
		return err
	}
	process, err := startDaemon(filepath.Join(dir, "log"), ready, append(env, d.env...), append([]string{
		"dockerd", "--data-root", data,
		"--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"),
		"--config-file", config,
		"--host", socket,
		"--bridge", "none", "--iptables=false", "--ip6tables=false",
	}, options...)...)
	if err != nil {
		return nil, nil, err
	}
	return d, process.stop, nil
}

func (d *docker) Name() string { return d.name }

func (d *docker) Address() string { return d.host }

func (d *docker) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.client, args...)
	cmd.Env = d.env
	return cmd
}

func (d *docker) Load(ctx context.Context, path string) (string, error) {
	stdout, err := check(ctx, d, "load", "--input", path)
	if err != nil {
		return "", err
	}
	if id, ok := field(stdout, "Loaded image ID:"); ok {
		return id, nil
	}
	if name, ok := field(stdout, "Loaded image:"); ok {
		return name, nil
	}
	return "", errors.New("docker load names no image: " + stdout)
}

func (d *docker) Run(ctx context.Context, image string, args ...string) (Result, error) {
	args = append([]string{"run", "--rm", "--network", "none", image}, args...)
	// 125 is Docker's own failure.
	return run(ctx, d, func(r Result) bool { return r.ExitCode == 125 }, args...)
}

func (d *docker) Remove(ctx context.Context, image string) error {
	_, err := check(ctx, d, "image", "rm", "--force", image)
	return err
}
