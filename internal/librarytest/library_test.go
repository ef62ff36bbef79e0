package librarytest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve"
	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/spec"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 1 { // a process of a step; TestSteps is about one who forgets this
		varve.Init()
	}
	os.Exit(m.Run())
}

// TestSteps: scripts are refused in a program that has not called Init, and run in one that has.
func TestSteps(t *testing.T) {
	s := spec.New("scripted")
	s.ExtraCommands = "echo made >made"
	if _, err := varve.Build(t.Context(), s, nil); !errors.Is(err, varve.ErrNotInitialized) {
		t.Fatalf("without Init: %v", err)
	}
	testtools.NeedRoot(t) // root has user namespaces everywhere
	varve.Init()
	var log strings.Builder
	cache := t.TempDir()
	s.ExtraCommands += "; echo said"
	img, err := varve.Build(t.Context(), s, &varve.Options{TempDir: t.TempDir(), Steps: varve.Steps{Log: &log}})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	files, err := img.Files(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if len(files.Entries) != 2 || files.Entries[1].Path != "made" || log.String() != "extraCommands: said\n" {
		t.Errorf("entries %v, log %q", files.Entries, log.String())
	}
	log.Reset()
	for range 2 {
		img, err := varve.Build(t.Context(), s, &varve.Options{TempDir: t.TempDir(), Cache: cache, Steps: varve.Steps{Log: &log}})
		if err != nil {
			t.Fatal(err)
		}
		img.Close()
	}
	if got, want := log.String(), "extraCommands: said\nextraCommands: not run: nothing that it sees has changed since it last ran\n"; got != want {
		t.Errorf("with a cache: %q", got)
	}
}

// TestZeroOptions: nil and zero options are enough for every destination that needs no more.
func TestZeroOptions(t *testing.T) {
	dir := t.TempDir()
	s := spec.New("zero")
	s.CopyToRoot = []spec.Copy{{Source: dir, Target: "/empty"}}
	for _, opts := range []*varve.Options{nil, {}} {
		img, err := varve.Build(t.Context(), s, opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range []string{"a.tar", "b.tar.zst", "layout/", "oci-archive:c.tar", "dir:d"} {
			transport, path, found := strings.Cut(ref, ":")
			if !found {
				transport, path = "", ref
			} else {
				transport += ":"
			}
			where := t.TempDir() + "/" + path
			written, err := varve.Write(t.Context(), img, transport+where, opts)
			if err != nil || written.ID == "" {
				t.Errorf("%s: %+v, %v", ref, written, err)
			}
			again, err := varve.Open(t.Context(), strings.TrimSuffix(transport+where, "/"), opts)
			if err != nil {
				t.Errorf("%s: %v", ref, err)
				continue
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, ref := range []string{"-", "docker-archive:-"} {
			if _, err := varve.Write(t.Context(), img, ref, opts); err == nil || !strings.Contains(err.Error(), "no standard output") {
				t.Errorf("%s: %v", ref, err)
			}
		}
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := varve.Open(t.Context(), "-", nil); err == nil || !strings.Contains(err.Error(), "no standard input") {
		t.Errorf("standard input: %v", err)
	}
	if _, err := varve.Build(t.Context(), &spec.Spec{Name: "Bad name"}, nil); err == nil {
		t.Error("a bad name is taken")
	}
}

// TestIndex: an image for several platforms is built of a spec for each.
func TestIndex(t *testing.T) {
	var specs []*spec.Spec
	for _, arch := range []string{"amd64", "arm64"} {
		s := spec.New("multi")
		s.Tag, s.Architecture = "1", arch
		specs = append(specs, s)
	}
	x, err := varve.BuildIndex(t.Context(), specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ref := "oci:" + t.TempDir() + "/x:multi"
	if _, err := varve.WriteIndex(t.Context(), x, ref, nil); err != nil {
		t.Fatal(err)
	}
	img, err := varve.Open(t.Context(), ref, &varve.Options{Platform: "linux/arm64"})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if p := img.Image.Platform(); p.Architecture != "arm64" {
		t.Errorf("opened for %+v", p)
	}
	if _, err := varve.WriteIndex(t.Context(), x, "docker-archive:"+t.TempDir()+"/x.tar", nil); err == nil {
		t.Error("a docker-archive took an index")
	}
	if _, err := varve.BuildIndex(t.Context(), nil, nil); err == nil {
		t.Error("an index of nothing")
	}
}

// TestNoSQLite: a program that does not use Nix's databases does not link SQLite, and one
// that does use them links it.
func TestNoSQLite(t *testing.T) {
	deps := func(pkg string) []string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	const module = "github.com/varve-image/varve"
	if slices.Contains(deps(module), "modernc.org/sqlite") {
		t.Error("package varve links SQLite")
	}
	if !slices.Contains(deps(module+"/nix/sqlite"), "modernc.org/sqlite") {
		t.Error("package nix/sqlite does not link it")
	}
}

// TestArchiveStream: an archive goes to Options.Stdout and comes from Options.Stdin.
func TestArchiveStream(t *testing.T) {
	s := spec.New("piped")
	s.Tag = "1"
	img, err := varve.Build(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	name := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := varve.Write(t.Context(), img, "-", &varve.Options{Stdout: out}); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	written, err := varve.Copy(t.Context(), "-", name+".tar.gz", &varve.Options{Stdin: out})
	if err != nil || len(written) != 1 || written[0].Names[0] != "piped:1" {
		t.Errorf("%+v, %v", written, err)
	}
}

// TestInspect: what was built and what is read again have the same description.
func TestInspect(t *testing.T) {
	s := spec.New("seen")
	s.Tag = "1"
	s.CopyToRoot = []spec.Copy{{Source: "library_test.go", Target: "/src/"}}
	img, err := varve.Build(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	name := filepath.Join(t.TempDir(), "seen.tar")
	if _, err := varve.Write(t.Context(), img, name, nil); err != nil {
		t.Fatal(err)
	}
	stored, err := varve.Open(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	for _, img := range []*varve.Image{img, stored} {
		info, err := varve.Inspect(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(info.Names, []string{"seen:1"}) || len(info.Layers) != 1 || info.Layers[0].Files != 1 || info.Size == 0 {
			t.Errorf("%+v", info)
		}
	}
}

// TestReadme: the program in the README compiles.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```go\n")
	program, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("the README has no program")
	}
	name := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(name, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "vet", name).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLogin: each registry is asked about by its own name, so that no login goes to another.
func TestLogin(t *testing.T) {
	var asked []string
	opts := &varve.Options{Registry: varve.Registry{Login: func(host string) (string, string, error) {
		asked = append(asked, host)
		return "", "", errors.New("nobody")
	}}}
	for _, ref := range []string{"docker://one.example/a:1", "docker://two.example:5000/a:1", "docker://debian:12"} {
		if _, err := varve.Open(t.Context(), ref, opts); err == nil || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if want := []string{"one.example", "two.example:5000", "docker.io"}; !slices.Equal(asked, want) {
		t.Errorf("asked about %q, want %q", asked, want)
	}
}

// TestOutlives: what Build returns does not end with Build's context, including scripts.
func TestOutlives(t *testing.T) {
	testtools.NeedRoot(t)
	varve.Init()
	s := spec.New("outlives")
	s.ExtraCommands = "echo made >made"
	ctx, cancel := context.WithCancel(t.Context())
	img, err := varve.Build(ctx, s, nil)
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := varve.Write(t.Context(), img, filepath.Join(t.TempDir(), "a.tar"), nil); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRefused: senseless options and specs are errors, and not panics.
func TestRefused(t *testing.T) {
	negative := int64(-1)
	now := spec.New("a")
	now.Created = &spec.Time{Now: true}
	odd := spec.New("a")
	odd.Config.Set("Cmd", []string{"/bin/a"})
	odd.MTime = 7
	for name, c := range map[string]struct {
		spec *spec.Spec
		opts varve.Options
		want string
	}{
		"locked and unlocked":   {spec.New("a"), varve.Options{Locked: true, Unlocked: true}, "contradict"},
		"now without a time":    {now, varve.Options{}, "Options.Now"},
		"an epoch before 1970":  {spec.New("a"), varve.Options{SourceDateEpoch: &negative}, "before 1970"},
		"no name":               {spec.New(""), varve.Options{}, "name: missing"},
		"a platform that is no": {spec.New("a"), varve.Options{Platform: "x"}, `"x"`},
		"a list of texts":       {odd, varve.Options{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := varve.Build(t.Context(), c.spec, &c.opts)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer img.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "spec:") && strings.Contains(err.Error(), ":1:") {
				t.Errorf("%v, want one with %q", err, c.want)
			}
		})
	}
}

// TestObserve: events say what was done to each layer.
func TestObserve(t *testing.T) {
	s := spec.New("observed")
	s.CopyToRoot = []spec.Copy{{Source: t.TempDir(), Target: "/empty"}}
	for ref, compressed := range map[string]bool{"a.tar": false, "b.tar.gz": true, "layout/": true} {
		img, err := varve.Build(t.Context(), s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close()
		var done []image.Event
		_, err = varve.Write(t.Context(), img, t.TempDir()+"/"+ref, &varve.Options{Observe: func(e image.Event) {
			if e.Done {
				done = append(done, e)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if len(done) != 1 || done[0].Work.Hashed != done[0].Size || done[0].Work.Sent == 0 || (done[0].Work.Compressed > 0) != compressed {
			t.Errorf("%s: %+v", ref, done)
		}
	}
}
