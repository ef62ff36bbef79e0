package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cli"
)

// jsonOutput is a command that prints JSON, and the name of its schema in testdata/output.schema.json.
type jsonOutput struct {
	command, schema string
	args            []string
	code            int
}

// jsonOutputs lists a use of every command with --json, for a registry that has HOST/base:1.
func jsonOutputs(host string) []jsonOutput {
	insecure := []string{"--insecure", host}
	return []jsonOutput{
		{"version", "version", nil, 0},
		{"tarsum", "tarsum", nil, 0},
		{"inspect", "inspect", []string{"several.tar"}, 0},
		{"inspect", "inspect", []string{"layout"}, 0},
		{"inspect", "inspect", append(insecure, "docker://"+host+"/base:1"), 0},
		{"lock", "lock", append(insecure, "child.yaml"), 0},
		{"lock", "lock", append(insecure, "child.yaml"), 0},
		{"lock", "lock", append(insecure, "child.yaml", "--check"), 0},
		{"layers", "layers", append(insecure, "child.yaml"), 0},
		{"layers", "layers", []string{"image.yaml", "--previous", "layout"}, 0},
		{"layers", "simulate", []string{"--simulate", "closures"}, 0},
		{"prefetch", "prefetch", append(insecure, host+"/base:1"), 0},
		{"cache ls", "cache-ls", nil, 0},
		{"cache verify", "cache-verify", nil, 0},
		{"cache prune", "cache-prune", []string{"--dry-run", "--all"}, 0},
		{"cache prune", "cache-prune", []string{"--all"}, 0},
		{"cache ls", "cache-ls", nil, 0},
		{"cache verify", "cache-verify", []string{"--cache", "none"}, 0},
	}
}

// TestJSON: what commands print with --json, and the file of --metadata-file, is as its schema says,
// and all names are spelled in one way.
func TestJSON(t *testing.T) {
	server := httptest.NewServer(ociserver.New(ocimem.New(), nil))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "rootfs", "file"), "content", 0o644)
	put(t, filepath.Join(dir, "image.yaml"), "name: app\ntag: '1'\ntags: [latest]\ncopyToRoot: [rootfs]\n", 0o644)
	put(t, filepath.Join(dir, "child.yaml"), "name: child\nfromImage: docker://"+host+"/base:1\ncopyToRoot: [rootfs]\n", 0o644)
	put(t, filepath.Join(dir, "closures", "1.json"), `[{"path": "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app", "narSize": 10, "narHash": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "references": []}]`, 0o644)
	put(t, filepath.Join(dir, "closures", "2.json"), `[{"path": "/nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-app", "narSize": 10, "narHash": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "references": []}]`, 0o644)
	mustRun(t, dir, "build", "image.yaml", "-q", "-o", "docker://"+host+"/base:1", "-o", "several.tar", "-o", "layout/", "-o", "x.tar.gz",
		"--insecure", host, "--metadata-file", "one.json")
	mustRun(t, dir, "build", "image.yaml", "-q", "--platform", "linux/amd64,linux/arm64", "-o", "index/", "--metadata-file", "two.json")
	mustRun(t, dir, "copy", "--all", "-q", "index", "docker://"+host+"/all:1", "--insecure", host, "--metadata-file", "three.json")
	mustRun(t, dir, "copy", "--all", "-q", "docker://"+host+"/all:1", "docker://"+host+"/more:1", "--insecure", host, "--metadata-file", "four.json")
	for _, name := range []string{"one.json", "two.json", "three.json", "four.json"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		checkJSON(t, name, "metadata", string(data))
	}
	var seen []string
	for _, o := range jsonOutputs(host) {
		cmd := varve(t, dir, append(append(strings.Fields(o.command), "--json"), o.args...)...)
		if o.command == "tarsum" {
			f, err := os.Open(filepath.Join(dir, "several.tar"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			cmd.Stdin = f
		}
		out := run(t, cmd)
		if out.code != o.code {
			t.Errorf("%s %q: exit code %d: %s", o.command, o.args, out.code, out.stderr)
		}
		checkJSON(t, o.command, o.schema, out.stdout)
		seen = append(seen, o.command)
	}
	for _, command := range commandsWithJSON(cli.Command()) {
		if !slices.Contains(seen, command) {
			t.Errorf("%s has --json and was not tried", command)
		}
	}
}

// TestJSONOfDamage: what is wrong is in the JSON as well, and the exit code stays.
func TestJSONOfDamage(t *testing.T) {
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "rootfs", "file"), strings.Repeat("content", 1000), 0o644)
	mustRun(t, dir, "build", "--name", "x", "--copy", "rootfs", "-q", "-o", "oci:layout")
	var blob string
	must(t, filepath.WalkDir(filepath.Join(cacheHome(t), "varve", "memo", "contents"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			blob = path
		}
		return err
	}))
	must(t, os.Truncate(blob, 5))
	out := run(t, varve(t, dir, "cache", "verify", "--json"))
	if out.code != 4 || !strings.Contains(out.stdout, "problems\": [\n") {
		t.Errorf("exit code %d, %s%s", out.code, out.stdout, out.stderr)
	}
	checkJSON(t, "cache verify", "cache-verify", out.stdout)
}

func commandsWithJSON(cmd *cobra.Command) (list []string) {
	if cmd.Flags().Lookup("json") != nil {
		list = append(list, strings.TrimPrefix(cmd.CommandPath(), "varve "))
	}
	for _, sub := range cmd.Commands() {
		list = append(list, commandsWithJSON(sub)...)
	}
	return list
}

var keyPattern = regexp.MustCompile(`^[a-z][a-zA-Z0-9]*$`)

func checkJSON(t *testing.T, what, schema, text string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	s, err := c.Compile("testdata/output.schema.json#/$defs/" + schema)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", what, err, text)
	}
	checkKeys(t, what, v)
}

// checkKeys wants every name in lower camel case, except in image configs, which others define.
func checkKeys(t *testing.T, what string, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			checkKeys(t, what, item)
		}
	case map[string]any:
		for key, item := range v {
			if !keyPattern.MatchString(key) {
				t.Errorf("%s: the name %q", what, key)
			}
			if key != "config" {
				checkKeys(t, what, item)
			}
		}
	}
}
