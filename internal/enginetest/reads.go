package enginetest

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// rows are the beginnings of the rows about an engine or tool in the table of
// docs/compatibility.md: of Debian 12's version and of the current one.
var rows = map[string][2]string{
	"docker":         {"Docker 20.10", "Docker 29, "},
	"docker-classic": {"", "Docker 29 without"},
	"podman":         {"Podman 4.3", "Podman 5"},
	"containerd":     {"containerd 1.6", "containerd 2.4"},
	"skopeo":         {"skopeo 1.9", "skopeo 1.9"},
	"umoci":          {"umoci 0.4.7", "umoci 0.6"},
}

// Reads returns which forms of an image an engine or tool reads, as docs/compatibility.md has it:
// tar, docker-archive, tar.gz, tar.zst, oci-archive, oci. Of Debian 12's versions, later ones
// may read more.
func Reads(t testing.TB, name string) map[string]bool {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	page, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../docs/compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := rows[name][0]
	if Current() {
		row = rows[name][1]
	}
	forms := []string{"tar", "tar.gz", "tar.zst", "oci-archive", "oci"}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if row == "" || !strings.HasPrefix(line, "| "+row) || len(cells) != len(forms)+3 {
			continue
		}
		reads := map[string]bool{}
		for i, form := range forms {
			reads[form] = strings.HasPrefix(strings.TrimSpace(cells[i+2]), "yes")
		}
		reads["docker-archive"] = reads["tar"]
		return reads
	}
	t.Fatalf("docs/compatibility.md has no row for %s", name)
	return nil
}

// CheckRun runs an image and compares what it does. An engine without containers passes.
func CheckRun(t testing.TB, e Engine, image string, want Result, args ...string) {
	t.Helper()
	got, err := e.Run(t.Context(), image, args...)
	// ctr may lose the end of what a container writes that ends at once.
	for range 3 {
		if err != nil || e.Name() != "containerd" || got.Stdout == want.Stdout || !strings.HasPrefix(want.Stdout, got.Stdout) {
			break
		}
		t.Logf("containerd: lost the end of %q", got.Stdout)
		got, err = e.Run(t.Context(), image, args...)
	}
	if errors.Is(err, ErrRunsNothing) {
		t.Logf("%s: %v", e.Name(), err)
	} else if err != nil || got != want {
		t.Errorf("%s: run %s: %v\n%+v\nwant\n%+v", e.Name(), image, err, got, want)
	}
}
