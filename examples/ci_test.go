package examples

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/varve-image/varve/internal/enginetest"
)

// TestCI runs the commands of the recipes in docs/ci.md, in their order, against a registry with
// a login. Its image is not there at first.
func TestCI(t *testing.T) {
	bin := build(t)
	reg := enginetest.RegistryWithLogin(t)
	r := newRunner(t, bin, reg)
	r.run(t, "the base", `varve build --name base --copy rootfs -o "docker://$REGISTRY/acme/base:1"
sed -i "s|REGISTRY|$REGISTRY|" image.yaml
varve lock image.yaml -q`)
	page := filepath.Join(root, "docs", "ci.md")
	first := true
	for _, b := range blocks(t, page) {
		for _, text := range recipe(t, page, b) {
			out := r.run(t, fmt.Sprintf("%s:%d", page, b.line), text)
			if warned := strings.Contains(out, `nothing is taken from the cache image "docker://`); warned != (first && strings.Contains(text, "varve build")) {
				t.Errorf("%s:%d: a warning: %v", page, b.line, warned)
			}
			first = first && !strings.Contains(text, "varve build")
		}
	}
	if first {
		t.Error("nothing was built")
	}
	digest := strings.TrimSpace(r.run(t, "the digest", `varve inspect "docker://$IMAGE:main" | sed -n 's/^manifest *//p'`))
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(digest) {
		t.Errorf("the digest is %q", digest)
	}
	// The runner gets the same line from both jobs, and the one that signs got it as well.
	handedOn := r.run(t, "what is handed on", `cat "$GITHUB_OUTPUT" "$OUTPUT"; echo; cat "$SIGNED"; grep -o "\"digest\": .*" image.json`)
	ref := r.env[slices.IndexFunc(r.env, func(v string) bool { return strings.HasPrefix(v, "IMAGE=") })][len("IMAGE="):] + "@" + digest
	if want := fmt.Sprintf("image=%s\nimage=%[1]s\n\n%[1]s\n\"digest\": %q,\n", ref, digest); handedOn != want {
		t.Errorf("handed on was\n%s\nwant\n%s", handedOn, want)
	}
	r.run(t, "the tags", `varve inspect -q "docker://$IMAGE:$COMMIT"`)
}

// recipe returns the commands of a block: those of the steps of a runner's file, or of a shell.
func recipe(t *testing.T, page string, b block) []string {
	t.Helper()
	text := strings.Join(b.lines, "\n")
	if b.language == "sh" {
		return []string{text}
	}
	if b.language != "yml" {
		return nil
	}
	var file any
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Errorf("%s:%d: %v", page, b.line, err)
	}
	var found []string
	var look func(any)
	look = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				look(e)
			}
		case map[string]any:
			for key, e := range v {
				switch list, isList := e.([]any); {
				case key == "run":
					found = append(found, fmt.Sprint(e))
				case key == "script" && isList:
					for _, line := range list {
						found = append(found, fmt.Sprint(line))
					}
				default:
					look(e)
				}
			}
		}
	}
	look(file)
	return slices.DeleteFunc(found, func(text string) bool { return strings.HasPrefix(text, "go install ") })
}

// runner is what a service for continuous integration runs commands on.
type runner struct {
	dir string
	env []string
}

func newRunner(t *testing.T, bin string, reg enginetest.GuardedRegistry) runner {
	t.Helper()
	dir, shims, home := t.TempDir(), t.TempDir(), t.TempDir()
	// The tests' registry has a certificate that nobody knows.
	script(t, filepath.Join(shims, "varve"), fmt.Sprintf(`case $1 in cache) exec %q "$@" ;; *) exec %[1]q "$@" --ca-file %[2]q ;; esac`,
		filepath.Join(bin, "varve"), reg.CAFile))
	// The program that signs has to get one image by its digest, which it can read.
	script(t, filepath.Join(shims, "cosign"), `test "$1 $2 $#" = "sign --yes 3"; case $3 in *[!a-z0-9./:@-]*) exit 1 ;; *@sha256:*) ;; *) exit 1 ;; esac
varve inspect "docker://$3" >&2 && echo "$3" >>"$SIGNED"`)
	login := base64.StdEncoding.EncodeToString([]byte(reg.Username + ":" + reg.Password))
	for name, text := range map[string]string{
		filepath.Join(dir, "image.yaml"):    "name: site\nfromImage: docker://REGISTRY/acme/base:1\ncopyToRoot: [{source: rootfs, target: /srv}]\n",
		filepath.Join(dir, "rootfs", "one"): "one\n",
		filepath.Join(home, "config.json"):  fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, reg.Host, login),
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return runner{dir, append(environment(os.Environ(), shims),
		"HOME="+home, "XDG_CACHE_HOME=", "XDG_RUNTIME_DIR=", "XDG_CONFIG_HOME=", "REGISTRY_AUTH_FILE=", "DOCKER_CONFIG="+home,
		"REGISTRY="+reg.Host, "IMAGE="+reg.Host+"/acme/site",
		"GITHUB_ACTOR="+reg.Username, "TOKEN="+reg.Password, "GITHUB_OUTPUT="+filepath.Join(home, "output"),
		"COMMIT=0123abc", "OUTPUT="+filepath.Join(home, "passed-on"), "SIGNED="+filepath.Join(home, "signed"),
		"CI_REGISTRY_USER="+reg.Username, "CI_REGISTRY_PASSWORD="+reg.Password,
	)}
}

// run runs commands and returns what they print.
func (r runner) run(t *testing.T, where, text string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", text)
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\nprinted\n%s", where, err, text, out)
	}
	t.Logf("%s: %s\n%s", where, text, out)
	return string(out)
}
