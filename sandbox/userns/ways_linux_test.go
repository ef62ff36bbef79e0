//go:build amd64 || arm64

package userns_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/sandbox"
	"github.com/varve-image/varve/sandbox/sandboxtest"
	"github.com/varve-image/varve/sandbox/userns"
)

// user is an ordinary user that tests run as. The second one has subordinate
// ids.
const user = 4321

var (
	selfOnce sync.Once
	selfDir  string
	selfErr  error
)

// self is this test program, linked statically and without the race detector,
// which starts much sooner: a suite starts it some hundred times.
func self(t *testing.T) string {
	t.Helper()
	selfOnce.Do(func() {
		if selfDir, selfErr = os.MkdirTemp("", "varve-self-"); selfErr != nil {
			return
		}
		cmd := exec.Command("go", "test", "-c", "-o", filepath.Join(selfDir, "test"), ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		var out []byte
		if out, selfErr = cmd.CombinedOutput(); selfErr != nil {
			selfErr = fmt.Errorf("%w\n%s", selfErr, out)
		}
	})
	if selfErr != nil {
		t.Fatalf("build this test program: %v", selfErr)
	}
	return filepath.Join(selfDir, "test")
}

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
	program := filepath.Join(dir, "test")
	temp := filepath.Join(dir, "tmp")
	ids := ""
	if subordinate {
		testtools.Need(t, "newuidmap")
		ids = fmt.Sprintf("%d:300000:65536\n", user)
	}
	content, err := os.ReadFile(self(t))
	passwd, _ := os.ReadFile("/etc/passwd") // there need not be one
	passwd = fmt.Appendf(passwd, "varve-test:x:%d:%d::/:/bin/sh\n", user, user)
	for _, err := range []error{err, os.WriteFile(filepath.Join(dir, "passwd"), passwd, 0o644), os.Chmod(dir, 0o755), os.WriteFile(program, content, 0o755), os.Mkdir(temp, 0o755), os.Chown(temp, user, user),
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
		fmt.Sprintf("--regid=%d", user), "--clear-groups", program}, args...)
	cmd := exec.Command(unshare, run...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, sandboxtest.ProbeVariable+"="+probe.Source, "HOME=/")
	return cmd
}

// TestUsers runs the suite as ordinary users. What it expects is the same.
func TestUsers(t *testing.T) {
	for name, subordinate := range map[string]bool{"one id": false, "subordinate ids": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := asUser(t, subordinate, "-test.run=^Test(Suite|Network)$").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if strings.Contains(string(out), testtools.Missing) {
				t.Logf("%s", out)
			}
		})
	}
}

// TestFiltered: behind a filter like that of Nix's builds a step does the same,
// and where another sandbox listens to calls already.
func TestFiltered(t *testing.T) {
	t.Parallel()
	const some = "-test.run=^TestSuite$/^(blinding|changes|entries|errors|foreign|limits|memory|owners|results|surrounding|survivors|terminal)$"
	devices := exec.Command(self(t), "-test.run=^TestSuite$/^owners$/^devices$")
	devices.Env = append(os.Environ(), sandboxtest.ProbeVariable+"="+sandboxtest.Probe(t).Source)
	for around, cmd := range map[string]*exec.Cmd{
		"refuse": asUser(t, true, some), "refuse listen": asUser(t, false, some), "listen": devices,
	} {
		cmd.Env = append(cmd.Env, aroundVariable+"="+around)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", around, err, out)
		}
	}
}

// TestNoTracing: where calls can be answered in no way, the error says what to
// change.
func TestNoTracing(t *testing.T) {
	if os.Getenv(aroundVariable) == "" {
		cmd := exec.Command(self(t), "-test.run=^TestNoTracing$", "-test.v")
		cmd.Env = append(os.Environ(), aroundVariable+"=refuse untraced")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestNoTracing") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	temp := t.TempDir()
	_, err := userns.New(sandbox.Options{TempDir: temp}).Run(t.Context(), sandboxtest.Script(sandboxtest.Busybox(t), "true"))
	var missing *sandbox.MissingError
	if !errors.As(err, &missing) || len(missing.Hints) == 0 || !strings.Contains(err.Error(), "ptrace") {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestWithoutOverlay: where the directory for temporary files is in an overlay
// already, as in a container, none can be mounted on it. That makes no
// difference.
func TestWithoutOverlay(t *testing.T) {
	testtools.NeedRoot(t)
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := `cd "$1"; mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work tmp; exec "$2" "-test.run=^TestSuite$/^(changes|owners)$"`
	cmd := exec.Command(testtools.Need(t, "unshare"), "-m", "sh", "-ec", script, "sh", dir, self(t))
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Join(dir, "tmp"), sandboxtest.ProbeVariable+"="+sandboxtest.Probe(t).Source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestNoNamespaces: where the machine allows no more user namespaces, that is
// what is said, and not that a disk is full.
func TestNoNamespaces(t *testing.T) {
	if os.Getenv("VARVE_TEST_NO_NAMESPACES") == "" {
		// The limit counts for a namespace of users, and those within.
		cmd := exec.Command(testtools.Need(t, "unshare"), "--map-root-user", "--user", "sh", "-ec",
			`echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"`, "sh", self(t), "-test.run=^TestNoNamespaces$", "-test.v")
		cmd.Env = append(os.Environ(), "VARVE_TEST_NO_NAMESPACES=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS: TestNoNamespaces") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	_, err := userns.New(sandbox.Options{TempDir: t.TempDir()}).Run(t.Context(), sandboxtest.Script(sandboxtest.Busybox(t), "true"))
	var missing *sandbox.MissingError
	if !errors.As(err, &missing) || len(missing.Hints) == 0 || strings.Contains(err.Error(), "space") && !strings.Contains(err.Error(), "namespace") {
		t.Errorf("error %v", err)
	}
}

// digest is that of the layers that steps make here.
func digest(t *testing.T) string {
	t.Helper()
	return sandboxtest.Digest(t, func(_ testing.TB, temp string) sandbox.Runner {
		return userns.New(sandbox.Options{TempDir: temp})
	})
}

const digestMark = "layer digest: "

// digestIn finds the digest in what TestSameBytes has printed.
func digestIn(out string) string {
	_, found, _ := strings.Cut(out, digestMark)
	found, _, _ = strings.Cut(found, "\n")
	return found
}

// TestSameBytes: the layer of a step is the same, byte for byte, whoever runs
// it.
func TestSameBytes(t *testing.T) {
	want := digest(t)
	fmt.Println(digestMark + want)
	if os.Getuid() != 0 || os.Getenv(aroundVariable) != "" {
		return
	}
	const run = "-test.run=^TestSameBytes$"
	filtered := exec.Command(self(t), run)
	filtered.Env = append(os.Environ(), aroundVariable+"=refuse", sandboxtest.ProbeVariable+"="+sandboxtest.Probe(t).Source)
	for name, cmd := range map[string]*exec.Cmd{
		"one id": asUser(t, false, run), "subordinate ids": asUser(t, true, run), "root behind a filter": filtered,
	} {
		out, err := cmd.Output()
		if got := digestIn(string(out)); err != nil || got != want {
			t.Errorf("%s: digest %q, as root %q; %v\n%s", name, got, want, err, out)
		}
	}
}
