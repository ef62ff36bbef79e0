package assemble

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// filesAt returns a tree of empty files, with the directories above them.
func filesAt(paths ...string) []*tree.Entry {
	all := []*tree.Entry{tree.NewDir(".", 0o755)}
	seen := map[string]bool{}
	for _, p := range paths {
		for d := path.Dir(p); d != "." && !seen[d]; d = path.Dir(d) {
			seen[d] = true
			all = append(all, tree.NewDir(d, 0o755))
		}
		all = append(all, tree.NewFile(p, 0o644, ""))
	}
	tree.Sort(all)
	return all
}

func regular(entries []*tree.Entry) string {
	var names []string
	for _, e := range entries {
		if e.Type == tree.Regular {
			names = append(names, e.Path)
		}
	}
	return strings.Join(names, " ")
}

func TestIgnoreFile(t *testing.T) {
	all := []string{"Dockerfile", "README.md", "a/b/c.o", "a/b/c.txt", "a/c.o", "c.o", "node_modules/x/i.js", "node_modules/keep", "z #x"}
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "Dockerfile README.md a/b/c.o a/b/c.txt a/c.o c.o node_modules/keep node_modules/x/i.js z #x"},
		{"comment, blank lines, spaces, a mark", "\ufeff#c.o\n\n  *.o \t\r\n/README.md\n", "Dockerfile a/b/c.o a/b/c.txt a/c.o node_modules/keep node_modules/x/i.js z #x"},
		{"any depth", "**/*.o\nnode_modules/\n", "Dockerfile README.md a/b/c.txt z #x"},
		{"exceptions", "*\n!a\na/b/*\n!a/b/c.txt\n", "a/b/c.txt a/c.o"},
		{"an exception below what is left out", "node_modules\n!node_modules/keep\n!**/c.txt", "Dockerfile README.md a/b/c.o a/b/c.txt a/c.o c.o node_modules/keep z #x"},
		{"the last pattern decides", "!c.o\nc.o\n*.md\n!README.md", "Dockerfile README.md a/b/c.o a/b/c.txt a/c.o node_modules/keep node_modules/x/i.js z #x"},
		{"one character, a class", "?.o\n[A-D]*\na/../a/c.o", "README.md a/b/c.o a/b/c.txt node_modules/keep node_modules/x/i.js z #x"},
		{"an exception for the directory above", "a/b\n!a\n*.o", "Dockerfile README.md a/b/c.o a/b/c.txt a/c.o node_modules/keep node_modules/x/i.js z #x"},
		{"a mark inside a name", "z #x", "Dockerfile README.md a/b/c.o a/b/c.txt a/c.o c.o node_modules/keep node_modules/x/i.js"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			patterns, err := ignorePatterns([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			kept, err := withoutIgnored(t.Context(), filesAt(all...), patterns)
			if err != nil {
				t.Fatal(err)
			}
			if got := regular(kept); got != tt.want {
				t.Errorf("%s\nwant\n%s", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"[", "a\n!\n", "a[z-", "!\\1", strings.Repeat("x", 1<<17)} {
		if _, err := ignorePatterns([]byte(bad)); err == nil {
			t.Errorf("%.10q: no error", bad)
		}
	}
	patterns, _ := ignorePatterns([]byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := withoutIgnored(ctx, filesAt("a"), patterns); err == nil {
		t.Error("cancelled: no error")
	}
}

// FuzzIgnoreFile: each file is kept or not as the pattern matcher says of its whole path, and a
// tree of what is kept is whole.
func FuzzIgnoreFile(f *testing.F) {
	f.Add([]byte("*\n!a/b\n"), "a/b/c")
	f.Add([]byte("\xef\xbb\xbf#x\n**/b\n"), "b/b")
	f.Add([]byte("a\\\n[!x]"), "a/x")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		if len(text) > 1000 || len(name) > 100 {
			return
		}
		p := path.Clean("/" + name)[1:]
		if p == "" {
			return
		}
		patterns, err := ignorePatterns(text)
		if err != nil {
			return
		}
		kept, err := withoutIgnored(t.Context(), filesAt(p, "other"), patterns)
		if err != nil { // a pattern that is compiled now
			return
		}
		for _, e := range kept {
			if e.Path != "." && tree.Find(kept, path.Dir(e.Path)) == nil {
				t.Errorf("%q has no directory", e.Path)
			}
		}
		lines, _ := ignorefile.ReadAll(bytes.NewReader(text))
		out, err := patternmatcher.MatchesOrParentMatches(p, lines)
		if err == nil && out == slices.ContainsFunc(kept, func(e *tree.Entry) bool { return e.Path == p && e.Type == tree.Regular }) {
			t.Errorf("%q with %q: left out: %v, and kept %q", p, lines, out, regular(kept))
		}
	})
}

func TestNoteSecrets(t *testing.T) {
	key := "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"
	for _, tt := range []struct{ name, path, content, want string }{
		{"git", "a/.git/config", "", `copyToRoot[0]: "src/a/.git" goes into the image and may hold secrets: if it should not, write exclude: ["a/.git"] or ignoreFile`},
		{"env", ".env", "", `"src/.env"`},
		{"key by content", "k/server.pem", key, `"src/k/server.pem"`},
		{"key of ssh", "id_rsa", "-----BEGIN RSA PRIVATE KEY-----\n", `"src/id_rsa"`},
		{"certificate", "server.pem", "-----BEGIN CERTIFICATE-----\nx\n", ""},
		{"far away", "server.key", strings.Repeat("x", keyPreview) + key, ""},
		{"text", "server.txt", key, ""},
		{"another name", ".environment", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entries := filesAt(tt.path)
			for _, e := range entries {
				if e.Path == tt.path {
					*e = *tree.NewFile(tt.path, 0o600, tt.content)
				}
			}
			b := &builder{spec: &spec.Spec{}}
			if _, err := b.ignore(t.Context(), "copyToRoot[0]", entries, spec.Copy{Source: "src"}, false); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(b.notes, "\n"); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("%s\nwant\n%s", got, tt.want)
			}
			b = &builder{spec: &spec.Spec{}}
			if _, err := b.ignore(t.Context(), "copyToRoot[0]", entries, spec.Copy{Source: "src", Exclude: []string{"**"}}, false); err != nil || len(b.notes) > 0 {
				t.Errorf("excluded: %q, %v", b.notes, err)
			}
		})
	}
}
