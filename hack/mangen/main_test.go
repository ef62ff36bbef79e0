package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/cli"
)

// TestPages: every command has a page, which is the same each time, has its flags in
// groups, and is valid for a formatter.
func TestPages(t *testing.T) {
	dir, again := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, again} {
		if err := writePages(d, cli.Command(), ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"varve", "varve-build", "varve-cache-prune", "varve-completion-bash"} {
		if _, err := os.Stat(filepath.Join(dir, name+".1")); err != nil {
			t.Error(err)
		}
	}
	pages, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		first, second := read(t, dir, p.Name()), read(t, again, p.Name())
		if first != second {
			t.Errorf("%s differs from one time to the next", p.Name())
		}
		checkFormat(t, filepath.Join(dir, p.Name()))
	}
	build := read(t, dir, "varve-build.1")
	for _, want := range []string{".SH IMAGE FLAGS\n", "\n\\fB\\-o\\fR, \\fB\\-\\-output\\fR\\fI DEST\\fR\n", ".SH EXAMPLES\n", ".BR varve (1)\n"} {
		if !strings.Contains(build, want) {
			t.Errorf("varve-build.1 lacks %q", want)
		}
	}
	if strings.Contains(build, "nix\\-build") {
		t.Error("varve-build.1 names a command that is not for users")
	}
}

func TestPageDate(t *testing.T) {
	for epoch, want := range map[string]string{"": "", "0": "1970-01-01", "1700000000": "2023-11-14"} {
		if got, err := pageDate(epoch); got != want || err != nil {
			t.Errorf("pageDate(%q) = %q, %v; want %q", epoch, got, err, want)
		}
	}
	if _, err := pageDate("today"); err == nil {
		t.Error("no error for an epoch that is not a number")
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// checkFormat checks a page with groff, if that is installed.
func checkFormat(t *testing.T, page string) {
	t.Helper()
	groff, err := exec.LookPath("groff")
	if err != nil {
		return
	}
	out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", page).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("groff %s: %v\n%s", filepath.Base(page), err, out)
	}
}
