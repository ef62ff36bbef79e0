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
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/sandboxtest"
	"github.com/varve-image/varve/internal/sandbox/userns"
	"github.com/varve-image/varve/internal/testtools"
)

// user is an ordinary user that tests run as, and that exists on no machine.
const user = 4321

var (
	selfOnce sync.Once
	selfDir  string
	errSelf  error
)

// self is this test program, linked statically and without the race detector, which starts
// much faster: a suite starts it some hundred times.
func self(t testing.TB) string {
	t.Helper()
	selfOnce.Do(func() {
		if selfDir, errSelf = os.MkdirTemp("", "varve-self-"); errSelf != nil {
			return
		}
		cmd := exec.Command("go", "test", "-c", "-o", filepath.Join(selfDir, "test"), ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		var out []byte
		if out, errSelf = cmd.CombinedOutput(); errSelf != nil {
			errSelf = fmt.Errorf("%w\n%s", errSelf, out)
		}
	})
	if errSelf != nil {
		t.Fatalf("build this test program: %v", errSelf)
	}
	return filepath.Join(selfDir, "test")
}

// asUser makes a command that runs this test program as an ordinary user.
func asUser(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	testtools.NeedRoot(t)
	setpriv := testtools.Need(t, "setpriv")
	dir, err := os.MkdirTemp("", "varve-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	temp := filepath.Join(dir, "tmp")
	content, err := os.ReadFile(self(t))
	for _, err := range []error{err, os.Chmod(dir, 0o755), os.WriteFile(program, content, 0o755), os.Mkdir(temp, 0o755), os.Chown(temp, user, user)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	probe := sandboxtest.Probe(t)
	run := append([]string{fmt.Sprintf("--reuid=%d", user), fmt.Sprintf("--regid=%d", user), "--clear-groups", program}, args...)
	cmd := exec.Command(setpriv, run...)
	cmd.Dir = temp
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, sandboxtest.ProbeVariable+"="+probe.Source, "HOME=/")
	return cmd
}

// within makes a command that runs this test program in user and mount namespaces like
// those of a container, as its first user, with a range of the machine's ids.
func within(t *testing.T, ids syscall.SysProcIDMap, args ...string) *exec.Cmd {
	t.Helper()
	testtools.NeedRoot(t)
	dir, err := os.MkdirTemp("", "varve-within-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	content, err := os.ReadFile(self(t))
	for _, err := range []error{err, os.WriteFile(filepath.Join(dir, "test"), content, 0o755), os.Chown(dir, ids.HostID, ids.HostID), os.Chmod(dir, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(dir, "test"), args...)
	cmd.Dir = dir
	all := []syscall.SysProcIDMap{ids}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(ids.ContainerID), Gid: uint32(ids.ContainerID)}
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, sandboxtest.ProbeVariable+"="+sandboxtest.Probe(t).Source, "HOME=/")
	return cmd
}

// The ids of a namespace as systemd-nspawn and others make it, where every id maps to
// itself and root is the kernel's, and of a namespace whose root does not exist on the
// machine.
var (
	identityIDs  = syscall.SysProcIDMap{Size: 65536}
	containerIDs = syscall.SysProcIDMap{HostID: 2000000000, Size: 65536}
)

// TestUsers runs the suite as users other than the machine's root, with the same
// expectations.
func TestUsers(t *testing.T) {
	const suite = "-test.run=^Test(Suite|Network)$"
	nested := asUser(t, suite)
	nested.Args = append([]string{testtools.Need(t, "setpriv"), nested.Args[1], nested.Args[2], nested.Args[3], testtools.Need(t, "unshare"), "--user", "--map-root-user"}, nested.Args[4:]...)
	for name, cmd := range map[string]*exec.Cmd{
		"ordinary": asUser(t, suite), "root of a namespace": nested,
		"the kernel's root in a container": within(t, identityIDs, suite), "root of a container": within(t, containerIDs, suite),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if strings.Contains(string(out), testtools.Missing) {
				t.Logf("%s", out)
			}
		})
	}
}

// TestKernelRoot: where the kernel's 0 is the only user, a step is refused, with what to
// do.
func TestKernelRoot(t *testing.T) {
	if os.Getenv("VARVE_TEST_KERNEL_ROOT") == "" {
		testtools.NeedRoot(t)
		for _, as := range []int{0, 1000} {
			cmd := within(t, syscall.SysProcIDMap{ContainerID: as, Size: 1}, "-test.run=^TestKernelRoot$", "-test.v")
			cmd.Env = append(cmd.Env, "VARVE_TEST_KERNEL_ROOT=1")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "PASS: TestKernelRoot") {
				t.Errorf("as %d: %v\n%s", as, err, out)
			}
		}
		return
	}
	for _, fakeRoot := range []bool{true, false} {
		step := sandboxtest.Script(sandboxtest.Busybox(t), "true")
		step.FakeRoot = fakeRoot
		_, err := userns.New(sandbox.Options{TempDir: t.TempDir()}).Run(t.Context(), step)
		var missing *lack.Error
		if !errors.As(err, &missing) || len(missing.Hints) == 0 || !strings.Contains(err.Error(), "user 0") {
			t.Errorf("fake root %v: error %v", fakeRoot, err)
		}
	}
}

// TestFiltered: a step behaves the same behind a filter like the one of Nix's builds, and
// where another sandbox listens to calls already.
func TestFiltered(t *testing.T) {
	t.Parallel()
	const some = "-test.run=^TestSuite$/^(blinding|changes|entries|errors|foreign|limits|memory|ops|owners|results|surrounding|survivors|terminal)$"
	root := exec.Command(self(t), some)
	root.Env = append(os.Environ(), sandboxtest.ProbeVariable+"="+sandboxtest.Probe(t).Source)
	for around, cmd := range map[string]*exec.Cmd{
		"refuse": asUser(t, some), "refuse listen": asUser(t, some), "listen": root,
	} {
		cmd.Env = append(cmd.Env, aroundVariable+"="+around)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", around, err, out)
		}
	}
}

// TestNoTracing: where there is no way to answer calls, the error says what to change.
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
	var missing *lack.Error
	if !errors.As(err, &missing) || len(missing.Hints) == 0 || !strings.Contains(err.Error(), "ptrace") {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestOverlay: the directory for temporary files may be in an overlay, as in a container,
// without any difference.
func TestOverlay(t *testing.T) {
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

// TestNoNamespaces: where the machine allows no more user namespaces, the error says so,
// and not that a disk is full.
func TestNoNamespaces(t *testing.T) {
	if os.Getenv("VARVE_TEST_NO_NAMESPACES") == "" {
		// The limit applies to a user namespace and those within it.
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
	var missing *lack.Error
	if !errors.As(err, &missing) || len(missing.Hints) == 0 || strings.Contains(err.Error(), "space") && !strings.Contains(err.Error(), "namespace") {
		t.Errorf("error %v", err)
	}
}

// digest returns the digest of the layers that steps make here.
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

// TestSameBytes: the layer of a step is the same, byte for byte, whoever runs it.
func TestSameBytes(t *testing.T) {
	want := digest(t)
	fmt.Println(digestMark + want)
	if os.Getuid() != 0 || os.Getenv(sandboxtest.ProbeVariable) != "" { // in a process started below
		return
	}
	const run = "-test.run=^TestSameBytes$"
	filtered := exec.Command(self(t), run)
	filtered.Env = append(os.Environ(), aroundVariable+"=refuse", sandboxtest.ProbeVariable+"="+sandboxtest.Probe(t).Source)
	for name, cmd := range map[string]*exec.Cmd{
		"an ordinary user": asUser(t, run), "root behind a filter": filtered,
		"the kernel's root in a container": within(t, identityIDs, run), "root of a container": within(t, containerIDs, run),
	} {
		out, err := cmd.Output()
		if got := digestIn(string(out)); err != nil || got != want {
			t.Errorf("%s: digest %q, as root %q; %v\n%s", name, got, want, err, out)
		}
	}
}
