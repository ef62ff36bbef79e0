package examples

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// command is a command in a document with its documented output.
type command struct {
	line int
	// text is what follows "$ ", with the lines that follow "> ".
	text string
	want string
}

// block is a fenced block of a document.
type block struct {
	language string
	line     int
	lines    []string
}

// blocks returns the fenced blocks of a Markdown document.
func blocks(t *testing.T, name string) []block {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && inside:
			inside = false
		case fence:
			inside = true
			all = append(all, block{language: language, line: i + 1})
		case inside:
			b := &all[len(all)-1]
			b.lines = append(b.lines, line)
		}
	}
	if inside {
		t.Fatalf("%s: a fenced block is left open", name)
	}
	return all
}

// commands returns the commands of a document's console blocks.
func commands(t *testing.T, name string) []command {
	t.Helper()
	var all []command
	for _, b := range blocks(t, name) {
		if b.language != "console" {
			continue
		}
		first := len(all)
		for i, line := range b.lines {
			if text, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, command{line: b.line + 1 + i, text: text})
				continue
			}
			if len(all) == first {
				t.Fatalf("%s:%d: a console block starts with no command", name, b.line)
			}
			last := &all[len(all)-1]
			if text, ok := strings.CutPrefix(line, "> "); ok && last.want == "" {
				last.text += "\n" + text
			} else {
				last.want += line + "\n"
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no commands", name)
	}
	return all
}

// reuse is what the summary of a build says where a layer was known. Files that are younger than
// some seconds are not remembered, so that it is chance whether it does.
var reuse = regexp.MustCompile(`(?m) \(\d+ reused(, [0-9.]+ k?B sent)?\)$`)

// matches reports whether got is the text want, in which "…" stands for anything.
func matches(want, got string) bool {
	if !strings.Contains(want, "reused") {
		got = reuse.ReplaceAllString(got, "")
	}
	parts := strings.Split(strings.TrimSpace(want), "…")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(strings.TrimSpace(got))
}

// session is a shell that commands are typed into.
type session struct {
	dir   string
	env   []string
	umask int
	// command makes the command that runs the shell; nil means one of this machine.
	command func(ctx context.Context, args ...string) *exec.Cmd
}

// mark separates the outputs of commands.
const mark = "\x1e"

// play runs the commands of a document one after another in one shell, and
// checks that each succeeds and prints what the document says.
func (s session) play(t *testing.T, name string, list []command) {
	t.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, "umask %04o\nexec 2>&1 </dev/null\n", s.umask)
	for _, c := range list {
		fmt.Fprintf(&script, "%s\nprintf '%s%%d%s' $?\n", c.text, mark, mark)
	}
	file := filepath.Join(t.TempDir(), "commands.sh")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.command == nil {
		s.command = func(ctx context.Context, args ...string) *exec.Cmd {
			return exec.CommandContext(ctx, args[0], args[1:]...)
		}
	}
	cmd := s.command(t.Context(), "sh", file)
	cmd.Dir, cmd.Env = s.dir, append(cmd.Env, s.env...)
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: the shell: %v", name, err)
	}
	results := bytes.Split(out, []byte(mark))
	for i, c := range list {
		if len(results) < 2*i+2 {
			t.Fatalf("%s:%d: $ %s\nwas not reached; before it: %s", name, c.line, c.text, out)
		}
		got, code := string(results[2*i]), string(results[2*i+1])
		if code != "0" || !matches(c.want, got) {
			t.Errorf("%s:%d: $ %s\nexit code %s, printed\n%s\nwant\n%s", name, c.line, c.text, code, got, c.want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{"a\n", "a", true},
		{"a", "ab", false},
		{"", "", true},
		{"", "a", false},
		{"a…c", "a\nb\nc", true},
		{"id sha256:…, 3 B", "id sha256:0123, 3 B\n", true},
		{"id sha256:…, 3 B", "id sha256:0123, 4 B\n", false},
		{"a.c", "abc", false},
		{"in 1 layer\nb", "in 1 layer (1 reused, 1.2 kB sent)\nb", true},
		{"in 1 layer", "in 1 layer (1 reused)\n", true},
		{"in 1 layer (…reused)", "in 1 layer", false},
	} {
		if matches(c.want, c.got) != c.ok {
			t.Errorf("matches(%q, %q) is %v", c.want, c.got, !c.ok)
		}
	}
}
