package enginetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// podman is Podman with storage of its own. It has no daemon; each command runs
// in a mount namespace of its own, as Podman leaves its storage mounted.
//
// Found on Debian 12's Podman 4.3:
//
//   - It raises the limits on open files and processes to its own defaults,
//     which root without CAP_SYS_RESOURCE may not do. --ulimit host does not
//     prevent that, nor does containers.conf for processes: Run sets both, to
//     low values, as Podman has lowered its own by then.
//   - crun 1.8 refuses cgroups v1 with a v2 hierarchy beside them ("hybrid mode
//     not supported"); runc takes all three kinds, so it comes first.
//   - systemd is its default cgroup manager and event log; neither needs to be
//     there.
type podman struct {
	home   *home
	prefix []string
	limits []string
	env    []string
}

func startPodman(h *home) (Engine, func(), error) {
	if Current() {
		return startStorage(h)
	}
	if err := need("podman", "conmon"); err != nil {
		return nil, nil, err
	}
	runtime, err := find("runc", "crun")
	if err != nil {
		return nil, nil, err
	}
	dir, err := h.sub("podman")
	if err != nil {
		return nil, nil, err
	}
	limits, err := modestLimits()
	if err != nil {
		return nil, nil, err
	}
	p := &podman{home: h, limits: limits}
	if err := p.configure(dir); err != nil {
		return nil, nil, err
	}
	p.prefix = append(namespaces(), "podman",
		"--tmpdir", filepath.Join(dir, "tmp"),
		"--network-config-dir", filepath.Join(dir, "net"),
		"--runtime", runtime,
		"--cgroup-manager", "cgroupfs",
		"--events-backend", "none")
	if _, err := check(context.Background(), p, "info"); err != nil {
		return nil, nil, err
	}
	return p, nil, nil
}

// modestLimits returns the options that keep the limits of containers within those
// of this process, and within what Podman makes of them.
func modestLimits() ([]string, error) {
	var options []string
	for _, l := range []struct {
		name     string
		resource int
	}{{"nofile", unix.RLIMIT_NOFILE}, {"nproc", unix.RLIMIT_NPROC}} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return nil, fmt.Errorf("get limit %s: %w", l.name, err)
		}
		n := min(now.Max, 4096)
		options = append(options, "--ulimit", fmt.Sprintf("%s=%d:%d", l.name, n, n))
	}
	return options, nil
}

// configure writes the files that would otherwise be the machine's.
func (p *podman) configure(dir string) error {
	driver := "vfs"
	if overlayWorks(filepath.Join(dir, "probe")) {
		driver = "overlay"
	}
	storage := fmt.Sprintf("[storage]\ndriver = %q\ngraphroot = %q\nrunroot = %q\n",
		driver, filepath.Join(dir, "root"), filepath.Join(dir, "run"))
	for _, f := range []struct{ name, variable, text string }{
		{"containers.conf", "CONTAINERS_CONF", fmt.Sprintf("[engine]\nimage_copy_tmp_dir = %q\n", dir)},
		{"registries.conf", "CONTAINERS_REGISTRIES_CONF", "unqualified-search-registries = []\n"},
		{"storage.conf", "CONTAINERS_STORAGE_CONF", storage},
		{"policy.json", "", `{"default": [{"type": "insecureAcceptAnything"}]}`},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, []byte(f.text), 0o644); err != nil {
			return fmt.Errorf("configure podman: %w", err)
		}
		if f.variable != "" {
			p.env = append(p.env, f.variable+"="+path)
		}
	}
	p.env = environment(p.home.dir, p.env...)
	return nil
}

func (p *podman) Name() string { return "podman" }

func (p *podman) Address() string { return "" }

func (p *podman) Command(ctx context.Context, args ...string) *exec.Cmd {
	argv := append(p.prefix[:len(p.prefix):len(p.prefix)], args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = p.env
	cmd.SysProcAttr = dieWithParent()
	return cmd
}

func (p *podman) Load(ctx context.Context, path string) (string, error) {
	policy := filepath.Join(p.home.dir, "podman", "policy.json")
	stdout, err := check(ctx, p, "load", "--signature-policy", policy, "--input", path)
	if err != nil {
		return "", err
	}
	if name, ok := field(stdout, "Loaded image:"); ok {
		return name, nil
	}
	return "", errors.New("podman load names no image: " + stdout)
}

func (p *podman) Run(ctx context.Context, image string, args ...string) (Result, error) {
	options := append([]string{"run", "--rm", "--pull", "never", "--network", "none"}, p.limits...)
	args = append(append(options, image), args...)
	// 125 is Podman's own failure.
	return run(ctx, p, func(r Result) bool { return r.ExitCode == 125 }, args...)
}

func (p *podman) Remove(ctx context.Context, image string) error {
	_, err := check(ctx, p, "image", "rm", "--force", image)
	return err
}
