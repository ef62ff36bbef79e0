// Package enginetest gives tests real container engines: Docker, Podman and
// containerd, the tools skopeo and umoci, and Nix.
//
// Guarantees:
//
//   - An engine is started once per test binary, by the first test that asks
//     for it, with its own storage, state and socket in a temporary directory.
//     The machine's own engines, if any, are neither used nor changed.
//   - Daemons live in their own process and mount namespace, whose first
//     process dies with the test binary, however that ends. Containers, shims
//     and mounts go with them.
//   - Containers have no network; nothing is ever fetched.
//   - A Nix has a store of its own at /nix, which the machine does not see and
//     which ends with its test.
//   - If an engine cannot run here, the test is skipped, or fails under CI=true:
//     see package testtools.
//
// Non-goals: engines without root, several engines of a kind in one binary,
// anything but Linux.
//
// A package that uses it has one Set, and stops it after its tests:
//
//	var engines enginetest.Set
//
//	func TestMain(m *testing.M) { os.Exit(engines.Around(m).Run()) }
//
// Only tests import this package.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/testtools"
)

// commandTimeout limits every command of an engine.
const commandTimeout = 2 * time.Minute

// Engine loads image archives and runs images.
type Engine interface {
	// Name is the engine's name, one of Names.
	Name() string
	// Load loads the image archive at path and returns the name (the ID if it has
	// none) that Run and Remove take; if there are several images, the first one's.
	Load(ctx context.Context, path string) (image string, err error)
	// Run runs the image in a new container without network, and removes the
	// container. Arguments replace the image's Cmd (containerd's ctr: Entrypoint
	// and Cmd). A nonzero exit code of the container is not an error.
	// ErrRunsNothing means that the engine has no containers.
	Run(ctx context.Context, image string, args ...string) (Result, error)
	// Remove removes the image.
	Remove(ctx context.Context, image string) error
	// Address is where its daemon listens: Docker's in the form of DOCKER_HOST,
	// containerd's socket, empty for Podman, which has none.
	Address() string
	// Command returns any other command of the engine's client.
	Command(ctx context.Context, args ...string) *exec.Cmd
}

// Result is what a command wrote and how it ended.
type Result struct {
	Stdout, Stderr string
	ExitCode       int
}

// Set holds the engines of a test binary. The zero value is ready for use.
type Set struct {
	mu      sync.Mutex
	home    *home
	engines map[string]*started
	stopped bool
}

// started is an engine, or the reason why there is none.
type started struct {
	engine Engine
	stop   func()
	err    error
}

// starters start the engines. An error that wraps errMissing means that the machine
// lacks something.
var starters = map[string]func(*home) (Engine, func(), error){
	"docker":         startDocker,
	"docker-classic": startClassic,
	"podman":         startPodman,
	"containerd":     startContainerd,

	"docker, small":     small(startDocker),
	"containerd, small": small(startContainerd),
}

// Current reports whether the engines are those of hack/engines, which "make test-engines" puts into
// PATH, instead of the machine's.
func Current() bool { return os.Getenv("VARVE_ENGINES") == "current" }

// Names returns the names that Set.Get knows. A current Docker has two stores, and what is called
// podman then keeps images and runs none.
func Names() []string {
	if Current() {
		return []string{"docker", "docker-classic", "podman", "containerd"}
	}
	return []string{"docker", "podman", "containerd"}
}

// errMissing says that the machine lacks what an engine needs.
var errMissing = errors.New("not available")

// Docker returns a running dockerd.
func (s *Set) Docker(t testing.TB) Engine { t.Helper(); return s.Get(t, "docker") }

// Small returns an engine, docker or containerd, that has 48 MB for images.
func (s *Set) Small(t testing.TB, name string) Engine { t.Helper(); return s.Get(t, name+", small") }

// Podman returns a Podman with its own storage.
func (s *Set) Podman(t testing.TB) Engine { t.Helper(); return s.Get(t, "podman") }

// Containerd returns a running containerd, used through ctr.
func (s *Set) Containerd(t testing.TB) Engine { t.Helper(); return s.Get(t, "containerd") }

// Get returns the engine called name. If the machine lacks what it needs, the test
// is skipped, or fails under CI=true.
func (s *Set) Get(t testing.TB, name string) Engine {
	t.Helper()
	engine, err := s.Start(name)
	if errors.Is(err, errMissing) {
		testtools.Lack(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// Start is Get for callers without a testing.TB: it returns the engine, or why
// there is none.
func (s *Set) Start(name string) (Engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, fmt.Errorf("start %s: the engines were stopped", name)
	}
	if one, ok := s.engines[name]; ok {
		return one.engine, one.err
	}
	one := s.start(name)
	if s.engines == nil {
		s.engines = map[string]*started{}
	}
	s.engines[name] = one
	return one.engine, one.err
}

func (s *Set) start(name string) *started {
	start, ok := starters[name]
	if !ok {
		return &started{err: fmt.Errorf("start %q: no such engine: one of %s", name, strings.Join(Names(), ", "))}
	}
	if s.home == nil {
		home, err := newHome()
		if err != nil {
			return &started{err: fmt.Errorf("start %s: %w", name, err)}
		}
		s.home = home
	}
	engine, stop, err := start(s.home)
	if err != nil {
		return &started{err: fmt.Errorf("start %s: %w", name, err)}
	}
	return &started{engine: engine, stop: stop}
}

// Around returns m with a Run that stops the engines after the tests. Its argument
// and result fit both testing and testscript.
func (s *Set) Around(m interface{ Run() int }) interface{ Run() int } {
	return around{s, m}
}

type around struct {
	set *Set
	m   interface{ Run() int }
}

func (a around) Run() int {
	defer a.set.Stop()
	return a.m.Run()
}

// Stop stops all engines, for callers that are no tests.
func (s *Set) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, one := range s.engines {
		if one.stop != nil {
			one.stop()
		}
	}
	if s.home != nil {
		if err := s.home.remove(); err != nil {
			fmt.Fprintf(os.Stderr, "enginetest: %v\n", err)
		}
	}
}

// Output runs cmd to its end. A nonzero exit code is not an error.
func Output(cmd *exec.Cmd) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A process that outlives cmd may hold its pipes open.
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return result, nil
	}
	if err != nil {
		return result, fmt.Errorf("run %q: %w\n%s", cmd.Args, err, stderr.String())
	}
	return result, nil
}

// check runs an engine's command, for at most commandTimeout, and treats a nonzero
// exit code as an error. It returns stdout.
func check(ctx context.Context, e Engine, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	result, err := Output(e.Command(ctx, args...))
	if err != nil {
		return "", err
	}
	if result.ExitCode != 0 {
		return "", fmt.Errorf("%s %q: exit code %d: %s", e.Name(), args, result.ExitCode, strings.TrimSpace(result.Stderr))
	}
	return result.Stdout, nil
}

// run runs a container, for at most commandTimeout. engineFailed reports whether a
// result is the engine's own failure, so that there was no container.
func run(ctx context.Context, e Engine, engineFailed func(Result) bool, args ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	result, err := Output(e.Command(ctx, args...))
	if err == nil && engineFailed(result) {
		err = fmt.Errorf("%s %q: exit code %d: %s", e.Name(), args, result.ExitCode, strings.TrimSpace(result.Stderr))
	}
	return result, err
}

// field returns what follows prefix in the first line that starts with it.
func field(lines, prefix string) (string, bool) {
	for line := range strings.Lines(lines) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}
