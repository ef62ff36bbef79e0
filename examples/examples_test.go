package examples

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/varve-image/varve/internal/debianbase"
	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/spec"
)

var engines enginetest.Set

func TestMain(m *testing.M) { os.Exit(engines.Around(m).Run()) }

// names returns the directories of the examples.
func names(t *testing.T) []string {
	t.Helper()
	specs, err := filepath.Glob("*/image.yaml")
	if err != nil || len(specs) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	var all []string
	for _, s := range specs {
		all = append(all, filepath.Dir(s))
	}
	return all
}

// needsDocker reports whether a command needs an engine or its tools.
func needsDocker(c command) bool {
	return strings.Contains(c.text, "docker ") || strings.HasPrefix(c.text, "skopeo ")
}

// split divides commands into those without and those with Docker. Changes of
// the directory belong to both.
func split(list []command) (plain, docker []command) {
	for _, c := range list {
		moves := strings.HasPrefix(c.text, "cd ")
		if moves || !needsDocker(c) {
			plain = append(plain, c)
		}
		if moves || needsDocker(c) {
			docker = append(docker, c)
		}
	}
	return plain, docker
}

// environment returns the tests' environment with bin first in PATH.
func environment(env []string, bin string) []string {
	env = append(env, "CGO_ENABLED=0", "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	// The copies are not a repository, nor is anything around them.
	return append(env, "GIT_CEILING_DIRECTORIES="+os.TempDir(), "GOFLAGS=", "SOURCE_DATE_EPOCH=")
}

// dockerSession returns a shell whose docker is the tests' own, which has no network.
func dockerSession(t *testing.T, dir, bin string) session {
	t.Helper()
	cmd := engines.Docker(t).Command(t.Context())
	shims := t.TempDir()
	script(t, filepath.Join(shims, "docker"),
		`if [ "$1" = run ]; then shift; set -- run --network none "$@"; fi`+"\n"+
			fmt.Sprintf(`exec %q "$@"`, cmd.Path))
	return session{dir: dir, env: environment(cmd.Env, shims+string(os.PathListSeparator)+bin), umask: 0o022}
}

// TestExamples types the commands of every example's README, in checkouts made
// under different umasks. The images are the same, and run in Docker.
func TestExamples(t *testing.T) {
	testtools.Need(t, "make")
	bin := build(t)
	compiled := goCache(t)
	checkouts := map[int]string{}
	for _, umask := range []int{0o000, 0o077} {
		checkouts[umask] = checkout(t, fs.FileMode(umask))
	}
	for _, name := range names(t) {
		t.Run(name, func(t *testing.T) {
			readme := filepath.Join(name, "README.md")
			plain, docker := split(commands(t, readme))
			if len(docker) == 0 {
				t.Fatal("the README never runs the image")
			}
			path := bin
			if uses(t, filepath.Join(name, "prepare.sh"), "mmdebstrap") {
				shims := t.TempDir()
				debianbase.Program(t, shims)
				path = shims + string(os.PathListSeparator) + bin
			}
			env := append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir(), "GOCACHE="+compiled)
			if uses(t, readme, "$REGISTRY") {
				env = append(env, "REGISTRY="+enginetest.Registry(t))
			}
			sums := map[int]string{}
			for umask, dir := range checkouts {
				s := session{dir: filepath.Join(dir, "examples", name), env: environment(env, path), umask: umask}
				s.play(t, readme, plain)
				sums[umask] = archives(t, s.dir)
			}
			if sums[0o000] != sums[0o077] || sums[0o000] == "" {
				t.Errorf("images by umask: %v", sums)
			}
			t.Run("docker", func(t *testing.T) {
				s := dockerSession(t, filepath.Join(checkouts[0o077], "examples", name), bin)
				s.play(t, readme, docker)
			})
		})
	}
}

// uses reports whether a script, or a README, runs a program or uses a variable.
func uses(t *testing.T, file, word string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Contains(string(text), word+" ")
}

// archives returns the names and digests of the archives in a directory.
func archives(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		all = append(all, filepath.Base(f)+" "+hex.EncodeToString(sum[:]))
	}
	return strings.Join(all, "\n")
}

// TestSchemaFile: the schema that editors are pointed to is the program's.
func TestSchemaFile(t *testing.T) {
	got, err := os.ReadFile("image.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, spec.Schema()) {
		t.Error("image.schema.json is out of date: varve schema > examples/image.schema.json")
	}
}

// TestSpecs: every example's spec names the schema, and is valid by it.
func TestSpecs(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("image.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t) {
		text, err := os.ReadFile(filepath.Join(name, "image.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("# yaml-language-server: $schema=../image.schema.json\n")) {
			t.Errorf("%s: the spec does not name the schema in its first line", name)
		}
		var value any
		if err := yaml.Unmarshal(text, &value); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// By way of JSON, whose kinds of values are the schema's.
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(instance); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
