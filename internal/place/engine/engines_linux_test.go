package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/testtools"
)

var engines enginetest.Set

func TestMain(m *testing.M) { os.Exit(engines.Around(m).Run()) }

// onPath puts a program into PATH that runs what cmd runs, with its
// environment, and the program's own arguments.
func onPath(t *testing.T, name string, argv, env []string) {
	t.Helper()
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	var script strings.Builder
	script.WriteString("#!/bin/sh\n")
	for _, e := range env {
		if key, value, ok := strings.Cut(e, "="); ok && key != "PATH" {
			fmt.Fprintf(&script, "export %s=%s\n", key, quote(value))
		}
	}
	script.WriteString("exec")
	for _, a := range argv {
		script.WriteString(" " + quote(a))
	}
	script.WriteString(" \"$@\"\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script.String()), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func startDocker(t *testing.T) Engine {
	return dockerAt(t, engines.Docker(t).Address())
}

func startDockerClassic(t *testing.T) Engine {
	return dockerAt(t, engines.Get(t, "docker-classic").Address())
}

func dockerAt(t *testing.T, address string) Engine {
	t.Helper()
	e, err := Docker(DockerOptions{Host: address})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func startPodmanCommand(t *testing.T) Engine {
	cmd := engines.Podman(t).Command(t.Context())
	argv := slices.Clone(cmd.Args)
	// Otherwise it would run itself; current ones come as the program of another name.
	i := slices.IndexFunc(argv, func(arg string) bool { return arg == "podman" || arg == "storage" })
	argv[i] = testtools.Need(t, argv[i])
	onPath(t, "podman", argv, cmd.Env)
	e, err := Podman(t.Context(), PodmanOptions{Sockets: []string{filepath.Join(t.TempDir(), "none")}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func startPodmanService(t *testing.T) Engine {
	dir, err := os.MkdirTemp("", "podman") // short: a socket's path has a limit
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "sock")
	service := engines.Podman(t).Command(context.Background(), "system", "service", "--time", "0", "unix://"+socket)
	var log bytes.Buffer
	service.Stdout, service.Stderr = &log, &log
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		service.Process.Kill()
		service.Wait()
		os.RemoveAll(dir)
	})
	for range 200 {
		e, err := Podman(t.Context(), PodmanOptions{Sockets: []string{filepath.Join(dir, "none"), socket}})
		if a, ok := e.(*api); err == nil && ok {
			return a
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("no service in 10 s: %s", log.String())
	return nil
}

// asSSH puts a program into PATH that does what ssh and sshd do, on this machine: it
// gives the command to a shell, with more of an environment.
func asSSH(t *testing.T, env string) {
	onlySSH(t, `while [ "$1" != -- ]; do shift; done
[ "$2" = far.example ] || exit 255
shift 2
`+env+` exec sh -c "$*"
`)
}

func startDockerSSH(t *testing.T) Engine {
	asSSH(t, "DOCKER_HOST="+engines.Docker(t).Address())
	e, err := Docker(DockerOptions{Host: "ssh://me@far.example"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func startPodmanSSH(t *testing.T) Engine {
	service := startPodmanService(t).(*api)
	asSSH(t, "")
	e, err := Podman(t.Context(), PodmanOptions{Host: "ssh://far.example:22" + service.host.address})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// startPodmanConnection starts podman with a storage of its own, which must not be used instead
// of its connection.
func startPodmanConnection(t *testing.T) Engine {
	service := startPodmanService(t).(*api)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"CONTAINERS_CONF":         fmt.Sprintf("[engine.service_destinations.there]\nuri = %q\n", service.host.text),
		"CONTAINERS_STORAGE_CONF": fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = \"%[1]s/root\"\nrunroot = \"%[1]s/run\"\n", dir),
	} {
		writeFile(t, filepath.Join(dir, name), text)
		t.Setenv(name, filepath.Join(dir, name))
	}
	t.Setenv("CONTAINER_CONNECTION", "there")
	e, err := Podman(t.Context(), PodmanOptions{Connection: true, Host: "unix:///nothing", Sockets: []string{"/nothing"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(dir, "root", "vfs-images")); !os.IsNotExist(err) {
			t.Errorf("podman's own storage was used: %v", err)
		}
	})
	return e
}

// startDockerTLS starts Docker behind a server that wants certificates, as a context says.
func startDockerTLS(t *testing.T) Engine {
	socket := strings.TrimPrefix(engines.Docker(t).Address(), "unix://")
	a := newAuthority(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", a.server(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go tunnel(conn, socket)
		}
	}()
	e, err := Docker(DockerOptions{Host: "tcp://" + l.Addr().String(), TLSVerify: true, CertDir: a.write(t, caFile, certFile, keyFile)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// tunnel leads from a connection to a socket, until either ends.
func tunnel(here net.Conn, socket string) {
	defer here.Close()
	there, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer there.Close()
	done := make(chan bool, 2)
	for _, ends := range [][2]net.Conn{{here, there}, {there, here}} {
		go func() {
			_, _ = io.Copy(ends[0], ends[1]) // ends with either
			done <- true
		}()
	}
	<-done
}

// startDockerContext starts Docker with a context that docker itself has made and chosen.
func startDockerContext(t *testing.T) Engine {
	dir := t.TempDir()
	for _, args := range [][]string{{"create", "there", "--docker", "host=" + engines.Docker(t).Address()}, {"use", "there"}} {
		cmd := engines.Docker(t).Command(t.Context(), append([]string{"context"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DOCKER_CONFIG=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("docker context %q: %v: %s", args, err, out)
		}
	}
	e, err := Docker(DockerOptions{ConfigDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if want := `of context "there"`; !strings.Contains(e.String(), want) {
		t.Errorf("%s, want %s", e, want)
	}
	return e
}

// TestReached: engines can be reached in every way that there is.
func TestReached(t *testing.T) {
	testtools.NeedRoot(t)
	for name, start := range map[string]func(*testing.T) Engine{
		"docker, ssh": startDockerSSH, "docker, TLS": startDockerTLS, "docker, context": startDockerContext,
		"podman, ssh": startPodmanSSH, "podman, connection": startPodmanConnection,
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			img := testImage("content by way of " + name)
			img.RepoTags = []string{repository + ":" + strings.ReplaceAll(name, ", ", "-")}
			if _, err := idOf(t, e, img.RepoTags[0]); !errors.Is(err, ErrNotFound) {
				t.Errorf("ID before the load: %v", err)
			}
			loadFails(t, e, img)
			loadAndSave(t, e, img, archiveOf(img))
		})
	}
}

func startSkopeo(t *testing.T) Engine {
	cmd := engines.Podman(t).Command(t.Context())
	// The same storage, which the environment names, in the same namespaces: it is left mounted,
	// as Podman does.
	argv := cmd.Args[:slices.Index(cmd.Args, "podman")]
	argv = append(slices.Clone(argv), testtools.Need(t, "skopeo"), "--insecure-policy")
	onPath(t, "skopeo", argv, cmd.Env)
	return skopeo{t.TempDir()}
}

func startContainerd(t *testing.T) Engine {
	t.Setenv("CONTAINERD_SNAPSHOTTER", "native")
	e, err := Containerd(ContainerdOptions{Socket: engines.Containerd(t).Address(), Namespace: "varve-daemon"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var realEngines = ofThese(map[string]func(*testing.T) Engine{
	"docker": startDocker, "docker-classic": startDockerClassic, "podman": startPodmanCommand, "podman service": startPodmanService,
	"skopeo": startSkopeo, "containerd": startContainerd,
})

// ofThese leaves those ways out that the engines at hand do not have: only a current Docker has two
// stores, and what a current Podman is made of has no service, and a storage that Debian's skopeo
// does not know.
func ofThese[F any](starts map[string]F) map[string]F {
	out := []string{"docker-classic"}
	if enginetest.Current() {
		out = []string{"podman service", "skopeo"}
	}
	for _, name := range out {
		delete(starts, name)
	}
	return starts
}

// TestEngines: an image goes into each engine and comes out with the same
// config and layers; it is sent once; what fails leaves no image.
func TestEngines(t *testing.T) {
	testtools.NeedRoot(t)
	for name, start := range realEngines {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			img := testImage("content for " + name)
			img.RepoTags = []string{repository + ":" + strings.ReplaceAll(name, " ", "-")}
			if _, err := idOf(t, e, img.RepoTags[0]); !errors.Is(err, ErrNotFound) {
				t.Errorf("ID before the load: %v", err)
			}
			if r, err := Open(t.Context(), e, img.RepoTags[0], ""); !errors.Is(err, ErrNotFound) {
				t.Errorf("Open before the load: %v, %v", r, err)
			}
			loadFails(t, e, img)
			loadAndSave(t, e, img, archiveOf(img))
			again := testImage("other content for " + name)
			again.Names = img.Names
			loadAndSave(t, e, again, archiveOf(again))
		})
	}
}

// TestLoadNames: an image gets all its names, also where the engine has it under the first
// already; it may have none.
func TestLoadNames(t *testing.T) {
	testtools.NeedRoot(t)
	for name, start := range realEngines {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			img := testImage("content of many names for " + name)
			img.RepoTags = []string{repository + ":first-" + strings.ReplaceAll(name, " ", "-")}
			mustLoad(t, e, img, false)
			img.RepoTags = append(img.RepoTags, repository+":second-"+strings.ReplaceAll(name, " ", "-"), "reg.example:5000/a/b:x-"+strings.ReplaceAll(name, " ", "-"))
			mustLoad(t, e, img, false)
			want, err := newImage(t.Context(), img, archiveOf(img))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range img.RepoTags {
				has, err := e.Identify(t.Context(), name)
				if err != nil {
					t.Error(err)
				} else if is, err := has.is(t.Context(), want); err != nil || !is {
					t.Errorf("%s is %+v, %v; want %s", name, has, err, want.ID)
				}
			}
			mustLoad(t, e, img, true)
			if listed, err := List(t.Context(), e); err != nil || name != "skopeo" && !containsAll(listed, img.RepoTags) {
				t.Errorf("it lists %q, %v; want %q among them", listed, err, img.RepoTags)
			}

			bare := testImage("content without a name for " + name)
			bare.RepoTags = nil
			if name == "skopeo" {
				if _, err := Load(t.Context(), e, bare, archiveOf(bare)); err == nil || !strings.Contains(err.Error(), "put one behind it") {
					t.Errorf("without a name: %v", err)
				}
				return
			}
			loaded := mustLoad(t, e, bare, false)
			t.Logf("without a name it is %q", loaded.Names)
			if name != "containerd" { // which identifies images by their manifests
				mustLoad(t, e, bare, true)
			}
		})
	}
}

func containsAll(list, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(name string) bool { return !slices.Contains(list, name) })
}

func mustLoad(t *testing.T, e Engine, img image.Named, present bool) Loaded {
	t.Helper()
	loaded, err := Load(t.Context(), e, img, archiveOf(img))
	if err != nil || loaded.Present != present {
		t.Fatalf("%+v, %v; want it to be present: %t", loaded, err, present)
	}
	return loaded
}

func loadFails(t *testing.T, e Engine, img image.Named) {
	t.Helper()
	broken := errors.New("the source has changed")
	_, err := Load(t.Context(), e, img, writing(img, func(ctx context.Context, w io.Writer) error {
		var b bytes.Buffer
		if err := dockerarchive.Write(ctx, &b, img, dockerarchive.Options{}); err != nil {
			return err
		}
		// The end is zeros, which not every engine waits for.
		if _, err := w.Write(b.Bytes()[:b.Len()/2]); err != nil {
			return err
		}
		return broken
	}))
	if !errors.Is(err, broken) {
		t.Errorf("load of what cannot be read: %v", err)
	}
	garbage := func(_ context.Context, w io.Writer) error {
		_, err := w.Write(bytes.Repeat([]byte("garbage"), 100_000))
		return err
	}
	if _, err := Load(t.Context(), e, img, writing(img, garbage)); err == nil {
		t.Error("load of garbage: no error")
	} else {
		t.Logf("load of garbage: %v", err)
	}
	if _, err := idOf(t, e, img.RepoTags[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("after loads that failed: %v", err)
	}
}

func loadAndSave(t *testing.T, e Engine, img image.Named, archive Archive) {
	t.Helper()
	loaded, err := Load(t.Context(), e, img, archive)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.RawConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Present || loaded.Names[0] != img.RepoTags[0] {
		t.Errorf("first load: %+v", loaded)
	}
	sent := false
	write := archive.Write
	archive.Write = func(ctx context.Context, w io.Writer, form Form) (digest.Digest, error) {
		sent = true
		return write(ctx, w, form)
	}
	loaded, err = Load(t.Context(), e, img, archive)
	if err != nil || !loaded.Present || sent {
		t.Errorf("second load: %+v, sent %t, %v", loaded, sent, err)
	}
	r, err := Open(t.Context(), e, loaded.Names[0], "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a, err := dockerarchive.Read(t.Context(), loaded.Names[0], r, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	i, err := image.Select(t.Context(), a, loaded.Names[0], v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := a.Open(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stored.ConfigJSON, config) {
		t.Errorf("config %s, want %s", stored.ConfigJSON, config)
	}
	var got, want bytes.Buffer
	if err := stored.Layers()[0].Write(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	if err := img.Layers()[0].Write(t.Context(), &want); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("the layer has %d bytes, want %d (%v)", got.Len(), want.Len(), err)
	}
}
