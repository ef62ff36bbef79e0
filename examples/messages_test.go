package examples

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMessages: the messages of docs/troubleshooting.md are the program's.
func TestMessages(t *testing.T) {
	page := filepath.Join(root, "docs", "troubleshooting.md")
	code := messageTexts(t)
	span := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for _, row := range tableRows(t, page) {
		if !strings.HasPrefix(row, "| `") {
			continue
		}
		rows++
		message, _, _ := strings.Cut(row[2:], " | ")
		for _, m := range span.FindAllStringSubmatch(message, -1) {
			for part := range strings.SplitSeq(m[1], "…") {
				if part = strings.Trim(part, ` ":[]`); !strings.Contains(code, part) {
					t.Errorf("%s: no message has %q", page, part)
				}
			}
		}
	}
	if rows == 0 {
		t.Errorf("%s has no messages", page)
	}
}

// tableRows returns the lines of a page's tables.
func tableRows(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return !strings.HasPrefix(line, "|") })
}

// messageTexts returns the program's sources, with strings joined where they are
// joined there, and the system's messages.
func messageTexts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	all.WriteString(fs.ErrNotExist.Error() + "\nno such file or directory\npermission denied\n")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	joined := regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(all.String(), "")
	return strings.ReplaceAll(joined, `\"`, `"`)
}

// TestFlags: commands that are shown and not run have the flags that they name.
func TestFlags(t *testing.T) {
	bin := build(t)
	flag := regexp.MustCompile(` (--[a-z][a-z-]*|-[a-zA-Z])\b`)
	for _, page := range documents(t) {
		for _, b := range blocks(t, page) {
			for i, line := range b.lines {
				line, _, _ = strings.Cut(strings.TrimPrefix(line, "$ "), "#")
				words := strings.Fields(line)
				if len(words) < 2 || words[0] != "varve" || b.language != "sh" {
					continue
				}
				help := commandHelp(t, bin, words[1:])
				for _, m := range flag.FindAllStringSubmatch(line, -1) {
					if !strings.Contains(help, m[1]+" ") && !strings.Contains(help, m[1]+",") {
						t.Errorf("%s:%d: %q has no flag %s", page, b.line+i+1, words[1], m[1])
					}
				}
			}
		}
	}
}

// commandHelp returns the help of the command that words begin with.
func commandHelp(t *testing.T, bin string, words []string) string {
	t.Helper()
	end := slices.IndexFunc(words, func(w string) bool { return !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(w) })
	if end >= 0 {
		words = words[:end]
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "varve"), append(slices.Clone(words), "--help")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("varve %q --help: %v\n%s", words, err, out)
	}
	return string(out)
}
