package tree

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

// TestOverlayDisagreements: where a tar says something twice, what is accepted
// here is read as GNU tar and bsdtar unpack it, if they accept it.
func TestOverlayDisagreements(t *testing.T) {
	tools := []string{"tar", "bsdtar"}
	for _, tool := range tools {
		testtools.Need(t, tool)
	}
	testtools.NeedRoot(t)
	old := unix.Umask(0o022) // of directories that are implied
	t.Cleanup(func() { unix.Umask(old) })
	for _, c := range disagreements() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := append(bytes.Join(c.parts, nil), tarFile("last", "l")...)
			data = append(data, make([]byte, 2*tarBlock)...)
			o, err := OpenOverlay(t.Context(), memLayers(data), OverlayOptions{Exact: true})
			got := ""
			if err == nil {
				got = full(t, o.Entries)
			}
			if c.refused != (err != nil) {
				t.Errorf("error %v:\n%s", err, got)
			}
			wantTarball(t, data, got, err != nil)
			for _, tool := range tools {
				want, toolErr := unpackedBy(t, tool, data)
				t.Logf("%s: %v\n%s", tool, toolErr, want)
				if err == nil && toolErr == nil && (got != want) != (tool == c.unlike) {
					t.Errorf("got:\n%s%s:\n%s", got, tool, want)
				}
			}
		})
	}
}

// wantTarball checks that a tarball to copy is read like a layer, or refused.
func wantTarball(t *testing.T, data []byte, want string, refused bool) {
	t.Helper()
	tarball, err := OpenTar(t.Context(), saveTar(t, data), TarOptions{})
	if err != nil {
		return
	}
	defer tarball.Close()
	if got := full(t, tarball.Entries); got != want || refused {
		t.Errorf("to copy it is:\n%sas a layer:\n%s", got, want)
	}
}

// unpackedBy returns the tree that a program unpacks.
func unpackedBy(t *testing.T, tool string, data []byte) (string, error) {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "-xp", "--numeric-owner", "-C", root, "-f", "-")
	cmd.Stdin, cmd.Env = bytes.NewReader(data), append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if len(out) > 0 {
		t.Logf("%s: %s", tool, strings.TrimSpace(string(out)))
	}
	return full(t, unpacked(t, root)), err
}
