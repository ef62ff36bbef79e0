package examples

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/spec"
)

// documents returns the pages of the documentation, except the examples'.
func documents(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no documentation: %v", err)
	}
	return append(pages, filepath.Join(root, "README.md"))
}

// TestDocumentation types the commands of every page at the top of a checkout.
func TestDocumentation(t *testing.T) {
	bin, cache := build(t), "GOCACHE="+goCache(t)
	for _, page := range documents(t) {
		if !slices.ContainsFunc(blocks(t, page), func(b block) bool { return b.language == "console" }) {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			dir := checkout(t, 0o022)
			plain, docker := split(commands(t, page))
			session{dir: dir, env: environment(append(os.Environ(), cache, "XDG_CACHE_HOME="+t.TempDir()), bin), umask: 0o022}.play(t, page, plain)
			if len(docker) == 0 {
				return
			}
			t.Run("docker", func(t *testing.T) {
				if slices.ContainsFunc(docker, func(c command) bool { return strings.HasPrefix(c.text, "skopeo ") }) {
					testtools.Need(t, "skopeo")
				}
				dockerSession(t, dir, bin).play(t, page, docker)
			})
		})
	}
}

// TestYAML: every YAML block is a spec, or the fields of one.
func TestYAML(t *testing.T) {
	for _, page := range documents(t) {
		for _, b := range blocks(t, page) {
			if b.language != "yaml" {
				continue
			}
			text := strings.Join(b.lines, "\n") + "\n"
			if !strings.Contains("\n"+text, "\nname:") {
				text += "name: hello\n"
			}
			if _, err := spec.Parse(strings.NewReader(text), spec.Options{File: page}); err != nil {
				t.Errorf("%s:%d: %v", page, b.line, err)
			}
		}
	}
}

// TestReadmeSpec: the spec that the README shows is the example's.
func TestReadmeSpec(t *testing.T) {
	example, err := os.ReadFile("02-rootfs/image.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks(t, filepath.Join(root, "README.md")) {
		if b.language == "yaml" && !bytes.HasSuffix(example, []byte("\n"+strings.Join(b.lines, "\n")+"\n")) {
			t.Errorf("README.md:%d: differs from examples/02-rootfs/image.yaml", b.line)
		}
	}
}

// TestFieldsAreDocumented: docs/spec.md has a row for every field.
func TestFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "spec.md"))
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Properties map[string]struct{ Description string }
		Defs       map[string]object `json:"$defs"`
	}
	var top object
	if err := json.Unmarshal(spec.Schema(), &top); err != nil {
		t.Fatal(err)
	}
	objects := append(slices.Collect(maps.Values(top.Defs)), top)
	for _, o := range objects {
		for field, p := range o.Properties {
			served := !strings.Contains(p.Description, "not supported")
			// A row may be about several fields: | `uid`, `gid` |
			row := regexp.MustCompile("(?m)^\\| (`\\w+`, )*`" + field + "`[, ]")
			if served && !row.Match(text) {
				t.Errorf("docs/spec.md has no row for %s", field)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#]*)(?:#([^)]*))?\)`)

// TestLinks: what a page links to in the repository exists.
func TestLinks(t *testing.T) {
	pages := append(documents(t), "README.md", filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "CHANGELOG.md"))
	for _, name := range names(t) {
		pages = append(pages, filepath.Join(name, "README.md"))
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			target, anchor := m[1], m[2]
			if strings.Contains(target, "://") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			content, err := os.ReadFile(file)
			if st, statErr := os.Stat(file); err != nil && (statErr != nil || !st.IsDir()) {
				t.Errorf("%s: link to %q: %v", page, target, err)
			}
			if anchor != "" && !slices.Contains(anchors(string(content)), anchor) {
				t.Errorf("%s: link to %q: no heading for #%s", page, target, anchor)
			}
		}
	}
}

// anchors returns the link names of a page's headings: in lower case, without
// punctuation, and with hyphens for spaces.
func anchors(text string) []string {
	var all []string
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		heading := strings.TrimLeft(line, "#")
		if code || heading == line {
			continue
		}
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading)))
	}
	return all
}
