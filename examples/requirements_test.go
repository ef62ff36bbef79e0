package examples

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// TestContainerOptions: with the options for Docker in docs/requirements.md a
// script runs in a container, and without them the error says what is missing.
func TestContainerOptions(t *testing.T) {
	busybox := testtools.Need(t, "busybox")
	bin, dir := build(t), t.TempDir()
	docker := engines.Docker(t)
	archive := filepath.Join(dir, "box.tar")
	made := exec.CommandContext(t.Context(), filepath.Join(bin, "varve"), "build", "--name", "box", "--tag", "1", "-o", archive,
		"--copy", filepath.Join(bin, "varve-itself")+":/bin/varve", "--copy", busybox+":/bin/sh", "--copy", busybox+":/bin/chown", "--perm", "/bin/*:0755", "--preset", "tmp")
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if out, err := docker.Command(t.Context(), "load", "--input", archive).CombinedOutput(); err != nil {
		t.Fatalf("docker load: %v\n%s", err, out)
	}
	options := containerOptions(t)
	for _, user := range []string{"0", "1000"} {
		for _, c := range []struct {
			options []string
			want    string
		}{
			{options, "A - 0644 5:6 0 B /x\n"},
			{nil, "does not let this user make namespaces"},
			{[]string{"--security-opt", "seccomp=unconfined"}, "systempaths=unconfined"},
		} {
			args := append([]string{"run", "--rm", "--network", "none", "--user", user}, c.options...)
			args = append(args, "box:1", "/bin/varve", "run-step", "/tmp", "--as", "fakeRootCommands", "--path", "/bin", "--script", ": >x; chown 5:6 x")
			out, err := docker.Command(t.Context(), args...).CombinedOutput()
			if !strings.Contains(string(out), c.want) {
				t.Errorf("user %s, %q: %v\n%s\nwant %q", user, c.options, err, out, c.want)
			}
		}
	}
}

// containerOptions returns the options in the row for Docker.
func containerOptions(t *testing.T) []string {
	t.Helper()
	page := filepath.Join(root, "docs", "requirements.md")
	for _, row := range tableRows(t, page) {
		if m := regexp.MustCompile("^\\| Docker \\| `docker run ([^`]*)` \\|").FindStringSubmatch(row); m != nil {
			return strings.Fields(m[1])
		}
	}
	t.Fatalf("%s has no row for Docker", page)
	return nil
}
