//go:build amd64 || arm64

package userns_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/sandbox"
	"github.com/varve-image/varve/sandbox/sandboxtest"
	"github.com/varve-image/varve/sandbox/userns"
)

// user is an ordinary user that tests run as. The second one has subordinate
// ids.
const user = 4321

// asUser makes a command that runs this test program as an ordinary user, with
// subordinate ids or without.
func asUser(t *testing.T, subordinate bool, args ...string) *exec.Cmd {
	t.Helper()
	testtools.NeedRoot(t)
	setpriv, unshare := testtools.Need(t, "setpriv"), testtools.Need(t, "unshare")
	dir, err := os.MkdirTemp("", "varve-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self := filepath.Join(dir, "test")
	temp := filepath.Join(dir, "tmp")
	ids := ""
	if subordinate {
		testtools.Need(t, "newuidmap")
		ids = fmt.Sprintf("%d:300000:65536\n", user)
	}
	program, err := os.ReadFile("/proc/self/exe")
	passwd, _ := os.ReadFile("/etc/passwd") // there need not be one
	passwd = fmt.Appendf(passwd, "varve-test:x:%d:%d::/:/bin/sh\n", user, user)
	for _, err := range []error{err, os.WriteFile(filepath.Join(dir, "passwd"), passwd, 0o644), os.Chmod(dir, 0o755), os.WriteFile(self, program, 0o755), os.Mkdir(temp, 0o755), os.Chown(temp, user, user),
		os.WriteFile(filepath.Join(dir, "ids"), []byte(ids), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	probe := sandboxtest.Probe(t)
	// The files that say who has which ids are others in a mount namespace.
	script := `set -e
		mount --bind "$1/passwd" /etc/passwd
		for f in /etc/subuid /etc/subgid; do touch $f; mount --bind "$1/ids" $f; done
		cd "$1/tmp"; shift
		exec "$@"`
	run := append([]string{"-m", "sh", "-c", script, "sh", dir, setpriv, fmt.Sprintf("--reuid=%d", user),
		fmt.Sprintf("--regid=%d", user), "--clear-groups", self}, args...)
	cmd := exec.Command(unshare, run...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, sandboxtest.ProbeVariable+"="+probe.Source, "HOME=/")
	return cmd
}

// TestUsers runs the suite as ordinary users. What it expects is the same.
func TestUsers(t *testing.T) {
	for name, subordinate := range map[string]bool{"one id": false, "subordinate ids": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := asUser(t, subordinate, "-test.run=^TestSuite$").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if strings.Contains(string(out), testtools.Missing) {
				t.Logf("%s", out)
			}
		})
	}
}

// TestSameBytes: the layer of a step is the same, byte for byte, whoever runs
// it.
func TestSameBytes(t *testing.T) {
	const mark = "layer digest: "
	digest := sandboxtest.Digest(t, func(_ testing.TB, temp string) sandbox.Runner {
		return userns.New(sandbox.Options{TempDir: temp})
	})
	fmt.Println(mark + digest)
	if os.Getuid() != 0 {
		return
	}
	for name, subordinate := range map[string]bool{"one id": false, "subordinate ids": true} {
		out, err := asUser(t, subordinate, "-test.run=^TestSameBytes$").Output()
		_, got, _ := strings.Cut(string(out), mark)
		got, _, _ = strings.Cut(got, "\n")
		if err != nil || got != digest {
			t.Errorf("%s: digest %q, as root %q; %v\n%s", name, got, digest, err, out)
		}
	}
}
