package tests

import (
	"archive/tar"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/enginetest"
)

// loaded holds the examples that a site has built.
type loaded struct {
	*site
	all map[string]example
}

// get loads an example and removes its name when the test ends. Docker keeps the
// layers, which other examples have too.
func (l *loaded) get(t *testing.T, name string) string {
	t.Helper()
	e, ok := l.all[name]
	if !ok {
		t.Fatalf("there is no example %s", name)
	}
	l.load(t, e)
	docker(t, "tag", e.ref(), "kept:"+strings.ToLower(name))
	t.Cleanup(func() { docker(t, "image", "rm", "--force", e.ref()) })
	return e.ref()
}

// path returns the store path of an expression's output.
func (l *loaded) path(t *testing.T, code string) string {
	t.Helper()
	return eval[string](t, l.site, "builtins.unsafeDiscardStringContext (toString "+code+")")
}

func want(t *testing.T, got, what string) {
	t.Helper()
	if !strings.Contains(got, what) {
		t.Errorf("got %q, want %q in it", got, what)
	}
}

// layersOf returns the digests of a loaded image's layers.
func layersOf(t *testing.T, ref string) []string {
	t.Helper()
	return strings.Fields(docker(t, "inspect", "--format", "{{range .RootFS.Layers}}{{.}} {{end}}", ref))
}

// subtests are those of nixpkgs' own test of dockerTools, and tests of what else
// the examples promise.
var subtests = []struct {
	name string
	run  func(*testing.T, *loaded)
}{
	{"store paths are included", func(t *testing.T, l *loaded) {
		want(t, run(t, l.get(t, "helloOnRoot")), "Hello, world!")
	}},
	{"store paths are left out", func(t *testing.T, l *loaded) {
		for _, name := range []string{"helloOnRootNoStore", "helloOnRootNoStoreFakechroot"} {
			ref := l.get(t, name)
			dockerFails(t, "run", "--rm", "--network", "none", ref)
			want(t, run(t, "--volume", l.Root()+"/nix/store:/nix/store:ro", ref), "Hello, world!")
			for _, file := range exported(t, ref) {
				if strings.HasPrefix(file, "nix/store/") && file != "nix/store/" {
					t.Errorf("%s has the store path %s", name, file)
				}
			}
			docker(t, "image", "rm", "--force", ref)
		}
	}},
	{"the date is stable", func(t *testing.T, l *loaded) {
		ref := l.get(t, "bash")
		want(t, docker(t, "inspect", "--format", "{{.Created}}", ref), "1970-01-01T00:00:01Z")
		want(t, run(t, ref, "bash", "--version"), "GNU bash")
	}},
	{"the date is now", func(t *testing.T, l *loaded) {
		for _, name := range []string{"unstableDate", "unstableDateLayered"} {
			created := strings.TrimSpace(docker(t, "inspect", "--format", "{{.Created}}", l.get(t, name)))
			at, err := time.Parse(time.RFC3339, created)
			if err != nil || time.Since(at) > time.Hour {
				t.Errorf("%s was created at %s", name, created)
			}
		}
	}},
	{"imageTag is the image's tag", func(t *testing.T, l *loaded) {
		for _, name := range []string{"bash", "bashNoTag", "bashNoTagLayered", "bashNoTagStreamLayered", "nixLayered"} {
			docker(t, "inspect", l.get(t, name))
		}
		if spec, tag := l.path(t, "examples.bashNoTag.spec"), l.all["bashNoTag"].ImageTag; !strings.Contains(spec, "/"+tag+"-") {
			t.Errorf("the tag %q is not the hash in %s", tag, spec)
		}
	}},
	{"nix has a database", func(t *testing.T, l *loaded) {
		ref := l.get(t, "nix")
		nix := l.path(t, "pkgs.nix")
		want(t, run(t, ref, "nix-store", "-qR", nix), l.path(t, "pkgs.glibc"))
		for _, name := range []string{"nix", "nixLayered"} {
			want(t, run(t, l.get(t, name), l.path(t, "pkgs.bash")+"/bin/bash", "-c", "readlink "+nix+"/bin/nix-daemon"), "nix\n")
		}
	}},
	{"store permissions for a user", func(t *testing.T, l *loaded) {
		out := run(t, "--user", "somebody", l.get(t, "bashLayeredWithUser"), "stat", "--format=%a %u", "/nix", "/nix/store")
		want(t, out, "755 0\n755 0\n")
	}},
	{"pullImage", func(t *testing.T, l *loaded) {
		l.load(t, l.all["nixFromDockerHub"])
		want(t, run(t, "nix:2.2.1", "nix-store", "--version"), "nix-store (Nix)")
		docker(t, "image", "rm", "nix:2.2.1")
		want(t, run(t, l.get(t, "onTopOfPulledImage"), "hello"), "Hello, world!")
	}},
	{"nginx serves as a user", func(t *testing.T, l *loaded) {
		serveNginx(t, l.get(t, "nginx"), l.get(t, "layeredImageWithFakeRootCommands"))
	}},
	{"redis on bash", func(t *testing.T, l *loaded) {
		id := strings.TrimSpace(docker(t, "run", "--detach", "--network", "none", l.get(t, "redis")))
		defer docker(t, "rm", "--force", "--volumes", id)
		eventually(t, func() bool {
			result, _ := enginetest.Output(engines.Docker(t).Command(t.Context(), "exec", id, "/bin/bash", "/bin/healthcheck"))
			return result.ExitCode == 0
		})
		want(t, docker(t, "inspect", "--format", "{{.Config.WorkingDir}} {{.Config.Volumes}}", id), "/data map[/data:{}]")
	}},
	{"scripts with quotes and parentheses", func(t *testing.T, l *loaded) {
		ref := l.get(t, "runAsRootExtraCommands")
		want(t, run(t, ref, "cat", "extraCommands"), "(extraCommand)")
		want(t, run(t, ref, "cat", "runAsRoot"), "(runAsRoot)")
	}},
	{"a script on a parent image", func(t *testing.T, l *loaded) {
		run(t, l.get(t, "runAsRootParentImage"), "bash", "-c", "test -f /example-file")
	}},
	{"layered images", func(t *testing.T, l *loaded) {
		ref := l.get(t, "layered-image")
		want(t, run(t, ref), "Hello, world!")
		want(t, run(t, ref, "cat", "extraCommands"), "(extraCommand)")
		want(t, run(t, l.get(t, "layered-on-top")), "hello")
		want(t, run(t, l.get(t, "layered-on-top-layered")), "hello")
	}},
	{"layers are shared", func(t *testing.T, l *loaded) {
		one, other := layersOf(t, l.get(t, "layered-image")), layersOf(t, l.get(t, "another-layered-image"))
		if !slices.ContainsFunc(one, func(id string) bool { return slices.Contains(other, id) }) {
			t.Errorf("no layer of %q is one of %q", one, other)
		}
	}},
	{"the order of layers", func(t *testing.T, l *loaded) {
		ref := l.get(t, "layersOrder")
		for _, name := range []string{"layer1", "layer2", "layer3"} {
			want(t, run(t, ref, "cat", "/tmp/"+name), name+"\n")
		}
		want(t, run(t, l.get(t, "layersUnpackOrder"), "cat", "/layer-order"), "abc")
	}},
	{"the environment is inherited", func(t *testing.T, l *loaded) {
		for _, name := range []string{"environmentVariables", "environmentVariablesLayered"} {
			env := strings.Fields(run(t, l.get(t, name), "env"))
			for _, variable := range []string{"FROM_PARENT=true", "FROM_CHILD=true", "LAST_LAYER=child"} {
				if !slices.Contains(env, variable) {
					t.Errorf("%s: %q lacks %s", name, env, variable)
				}
			}
			config := docker(t, "inspect", "--format", "{{.Config.Env}}", l.all[name].ref())
			if n := strings.Count(config, "LAST_LAYER"); n != 1 {
				t.Errorf("%s has LAST_LAYER %d times: %s", name, n, config)
			}
			docker(t, "image", "rm", "--force", l.all[name].ref())
		}
	}},
	{"few layers", func(t *testing.T, l *loaded) {
		for _, c := range []struct {
			name   string
			layers int
		}{{"two-layered-image", 2}, {"bulk-layer", 2}, {"layered-bulk-layer", 4}} {
			ref := l.get(t, c.name)
			if got := layersOf(t, ref); len(got) != c.layers {
				t.Errorf("%s has %d layers, want %d", c.name, len(got), c.layers)
			}
			run(t, ref, "/bin/hello")
		}
		want(t, run(t, l.all["bulk-layer"].ref(), "ls", "/bin/hello"), "/bin/hello")
	}},
	{"no store at all", func(t *testing.T, l *loaded) {
		ref := l.get(t, "no-store-paths")
		run(t, ref, "ls", "/")
		dockerFails(t, "run", "--rm", "--network", "none", ref, "ls", "/nix/store")
	}},
	{"the store is what the database says", func(t *testing.T, l *loaded) {
		ref := l.get(t, "filesInStore")
		run(t, ref, "nix-store", "--verify", "--check-contents")
		want(t, run(t, ref), "some data")
	}},
	{"another architecture", func(t *testing.T, l *loaded) {
		for _, name := range []string{"cross", "build-image-with-architecture", "layered-image-with-architecture"} {
			want(t, docker(t, "inspect", "--format", "{{.Architecture}}", l.get(t, name)), "arm64")
		}
	}},
	{"paths of the source tree", func(t *testing.T, l *loaded) {
		for _, name := range []string{"build-image-with-path", "layered-image-with-path"} {
			run(t, l.get(t, name), "bash", "-c", "[[ -e /hello.txt ]]")
		}
	}},
	{"a store path that is a symlink", func(t *testing.T, l *loaded) {
		run(t, l.get(t, "layeredStoreSymlink"), "bash", "-c", "test -L "+l.path(t, "examples.layeredStoreSymlink.passthru.symlink"))
	}},
	{"a registry in the name", func(t *testing.T, l *loaded) {
		for _, name := range []string{"prefixedImage", "prefixedLayeredImage"} {
			want(t, l.get(t, name), "registry-1.docker.io/")
			want(t, run(t, l.all[name].ref()), "Hello, world!")
		}
	}},
	{"chown without root", func(t *testing.T, l *loaded) {
		ref := l.get(t, "layeredImageWithFakeRootCommands")
		want(t, run(t, ref, "stat", "-c", "%u", "/home/alice"), "1000\n")
		want(t, run(t, ref, "/hello/bin/layeredImageWithFakeRootCommands-hello"), "Hello, world!")
	}},
	{"merged images", func(t *testing.T, l *loaded) {
		for _, c := range []struct{ merged, one, other string }{
			{"mergedBashAndRedis", "bash", "redis"}, {"mergedBashNoTagAndRedis", "bashNoTag", "redis"},
			{"mergeVaryingCompressor", "bashUncompressed", "bashZstdCompressed"}, {"mergedBashFakeRoot", "bash", "layeredImageWithFakeRootCommands"},
		} {
			l.load(t, l.all[c.merged])
			for _, name := range []string{c.one, c.other} {
				docker(t, "inspect", l.all[name].ref())
			}
			want(t, run(t, l.all[c.one].ref(), "bash", "--version"), "GNU bash")
			if c.other == "redis" {
				want(t, run(t, l.all["redis"].ref(), "redis-cli", "--version"), "redis-cli")
			}
			if c.merged == "mergedBashFakeRoot" {
				want(t, run(t, l.all[c.other].ref(), "stat", "-c", "%u", "/home/alice"), "1000\n")
			}
			docker(t, "image", "rm", "--force", l.all[c.one].ref(), l.all[c.other].ref())
		}
	}},
	{"exportImage", func(t *testing.T, l *loaded) {
		names := command(t, l.Command(t.Context(), "tar", "-tf", l.all["exportBash"].Path))
		want(t, names, "./bin/bash\n")
		if !regexp.MustCompile(`(?m)^\./nix/store/[^/]*-glibc-2/lib/libc\.so\.6$`).MatchString(names) {
			t.Errorf("the C library is not in %q", names)
		}
	}},
	{"scripts that see the image as root", func(t *testing.T, l *loaded) {
		want(t, run(t, l.get(t, "imageViaFakeChroot")), "Hello, world!")
		want(t, run(t, l.get(t, "etc")), "localhost")
	}},
	{"certificates", func(t *testing.T, l *loaded) {
		ref := l.get(t, "image-with-certs")
		for _, name := range []string{"/etc/ssl/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"} {
			run(t, ref, "test", "-r", name)
		}
	}},
	{"editors", func(t *testing.T, l *loaded) {
		want(t, run(t, l.get(t, "editors"), "ls", "/bin"), "nano\n")
	}},
	{"nix shells", nixShells},
}

// exported lists the files of an image.
func exported(t *testing.T, ref string) (names []string) {
	t.Helper()
	id := strings.TrimSpace(docker(t, "create", "--network", "none", ref))
	defer docker(t, "rm", id)
	files := tar.NewReader(strings.NewReader(docker(t, "export", id)))
	for {
		h, err := files.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

// eventually waits for something that takes a while to start.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for range 200 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("it did not come to be in 20 s")
}

// serveNginx asks a server for its page, from another container in its network.
func serveNginx(t *testing.T, server, client string) {
	t.Helper()
	id := strings.TrimSpace(docker(t, "run", "--detach", "--network", "none", server))
	defer docker(t, "rm", "--force", id)
	var page string
	eventually(t, func() bool {
		result, err := enginetest.Output(engines.Docker(t).Command(t.Context(),
			"run", "--rm", "--network", "container:"+id, client, "wget", "-q", "-O", "-", "http://127.0.0.1/"))
		page = result.Stdout
		return err == nil && result.ExitCode == 0
	})
	want(t, page, "Hello from nginx")
}

// nixShells runs images that are to behave like nix-shell.
func nixShells(t *testing.T, l *loaded) {
	for _, c := range []struct {
		name string
		// tty makes the shell believe that somebody types.
		tty  bool
		args []string
		want string
	}{
		{"nix-shell-basic", false, []string{"bash", "-c", "buildDerivation && $out/bin/hello"}, "Hello, world!\n"},
		{"nix-shell-hook", true, nil, "This is the shell hook!"},
		{"nix-shell-inputs", true, nil, "Hello, world!"},
		{"nix-shell-pass-as-file", true, nil, "this is a string"},
		{"nix-shell-run", true, nil, "This shell is not interactive"},
		{"nix-shell-command", true, nil, "This shell is interactive"},
		{"nix-shell-writable-home", true, nil, "home directory is writable"},
		{"nix-shell-nonexistent-home", true, nil, "home directory doesn't exist"},
		{"nix-shell-build-derivation", true, nil, "Hello, world!"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{l.get(t, c.name)}, c.args...)
			if c.tty {
				args = append([]string{"--tty"}, args...)
			}
			want(t, run(t, args...), c.want)
		})
	}
}
