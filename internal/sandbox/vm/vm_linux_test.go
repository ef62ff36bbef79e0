//go:build amd64

package vm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/sandboxtest"
	"github.com/varve-image/varve/internal/sandbox/vm"
	"github.com/varve-image/varve/internal/testtools"
)

// program is varve, which the virtual machine runs: a test's own program has shared
// libraries where the race detector is on.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "varve-vm-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // other users run it too
	}
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "varve")
	cmd := exec.Command("go", "build", "-trimpath", "-o", name, "github.com/varve-image/varve/cmd/varve")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return name, nil
})

func TestMain(m *testing.M) {
	code := sandboxtest.Main(m)
	if name, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(name))
	}
	os.Exit(code)
}

// newRunner makes a runner, where the machine has what it needs.
func newRunner(t testing.TB, temp string) sandbox.Runner {
	t.Helper()
	vm.NeedMachine(t)
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return vm.New(vm.Options{Options: sandbox.Options{TempDir: temp}, Init: name, BootTime: 5 * time.Minute})
}

// TestSuite takes minutes where the processor is emulated: a virtual machine
// for each step. The steps of the other tests are its short form.
func TestSuite(t *testing.T) {
	if os.Getenv("VARVE_SWEEP") == "" {
		t.Skip("VARVE_SWEEP is not set: see make sweep")
	}
	sandboxtest.Run(t, newRunner)
}

// TestImageRoot: a step in an image changes it, as root, and sees nothing of the machine
// except its binds.
func TestImageRoot(t *testing.T) {
	temp := t.TempDir()
	canary := filepath.Join(t.TempDir(), "CANARY")
	if err := os.WriteFile(canary, []byte("alive\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	step := sandboxtest.Script(sandboxtest.With(sandboxtest.Busybox(t), sandboxtest.Dir("data", 0o750),
		sandboxtest.Owned(sandboxtest.File("data/a", "a\n", 0o640), 5, 6), sandboxtest.File("data/gone", "", 0o644)), `
		test "$(id -u)" = 0
		test "$(stat -c %u:%g data/a)" = 5:6
		test "$(cat /mnt/shared/CANARY)" = alive
		test -z "$(find / -xdev -path /mnt -prune -o -name CANARY -print)"
		test "$(ls /sys/class/net)" = lo
		rm data/gone
		echo b >data/b
		chown 33:44 data/b
		chmod 4755 data/b
		cat
		echo why >&2`)
	step.Binds = []sandbox.Bind{{Source: filepath.Dir(canary), Target: "/mnt/shared"}}
	var stdout, stderr strings.Builder
	step.Stdin, step.Stdout, step.Stderr = strings.NewReader("from the host\n"), &stdout, &stderr
	res, err := newRunner(t, temp).Run(t.Context(), step)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	defer res.Close()
	if stdout.String() != "from the host\n" || stderr.String() != "why\n" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
	sandboxtest.WantChanges(t, res.Changes, `
		d 0755 0:0 .
		d 0750 0:0 data
		- 0000 0:0 data/.wh.gone ""
		- 4755 33:44 data/b "b\n"`)
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestHostTools: a step in a tree has the machine's programs, which cannot be changed, and
// its failure is reported.
func TestHostTools(t *testing.T) {
	step := sandboxtest.Script(sandboxtest.With(nil, sandboxtest.Dir(".", 0o755)), `
		test "$(id -u)" != 0
		! touch /usr/bin/x
		cat /etc/ld.so.cache >/dev/null
		ls -ld /usr/bin/env
		echo made >f
		exit 7`)
	step.Root, step.FakeRoot, step.Tools, step.Env = sandbox.HostTools, false, []string{"/usr/bin", "/bin"}, []string{"PATH=/usr/bin:/bin"}
	var out strings.Builder
	step.Stdout, step.Stderr = &out, &out
	_, err := newRunner(t, t.TempDir()).Run(t.Context(), step)
	var failed *sandbox.StepError
	if !errors.As(err, &failed) || failed.ExitCode != 7 || len(failed.LastLines) == 0 {
		t.Errorf("error %v, want exit code 7 and the last lines; output:\n%s", err, out.String())
	}
}

// TestBinds: a step sees binds as it does in namespaces, with modes, owners and whether
// they may be read, whoever runs it.
func TestBinds(t *testing.T) {
	vm.NeedMachine(t)
	testtools.NeedRoot(t)
	varve, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []uint32{0, 65534} {
		t.Run(fmt.Sprint(user), func(t *testing.T) {
			dir := bindsFor(t, user)
			see := func(isolation string) string {
				cmd := exec.Command(varve, "run-step", dir+"/tree", "--isolation", isolation, "--bind", dir+"/shown:/mnt/dir",
					"--bind", dir+"/closed:/mnt/closed", "--bind", dir+"/roots:/mnt/roots", "--bind", dir+"/open:/mnt/open", "--script", `
					set +e
					cd /mnt
					for f in * dir/* dir/sub/* dir/private/*; do
						busybox stat -c '%n %a %u:%g %F %t,%T %s %Y' $f 2>&1
						test -f $f && busybox cat $f 2>&1
					done
					for d in dir dir/sub dir/private; do busybox ls $d 2>&1; done
					exit 0`)
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir + "/tmp"}
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", isolation, err, out)
				}
				return string(out)
			}
			want, got := see("userns"), see("vm")
			if got != want {
				t.Errorf("in a virtual machine it sees\n%swant what it sees in namespaces\n%s", got, want)
			}
			if secret := strings.Contains(got, "ROOT'S"); secret {
				t.Errorf("it reads what root alone may\n%s", got)
			}
		})
	}
}

// bindsFor makes a tree and the files to bind into it, which mostly belong to a user.
func bindsFor(t *testing.T, user uint32) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "varve-binds-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	busybox, err := os.ReadFile(testtools.Need(t, "busybox"))
	errs := []error{err, os.MkdirAll(dir+"/tree/bin", 0o755), os.WriteFile(dir+"/tree/bin/busybox", busybox, 0o755), os.Symlink("busybox", dir+"/tree/bin/sh"),
		os.MkdirAll(dir+"/shown/sub", 0o755), os.Mkdir(dir+"/shown/private", 0o700), os.Mkdir(dir+"/tmp", 0o755), os.Symlink("open", dir+"/shown/link"),
		unix.Mkfifo(dir+"/shown/fifo", 0o644), unix.Mknod(dir+"/shown/device", unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3)))}
	for name, mode := range map[string]uint32{"open": 0o644, "closed": 0o600, "shown/open": 0o644, "shown/closed": 0o600, "shown/group": 0o640,
		"shown/program": 0o4755, "shown/sub/file": 0o444, "shown/private/file": 0o644} {
		text := "text\n"
		if user == 0 && (mode&0o004 == 0 || strings.Contains(name, "private")) {
			text = "ROOT'S\n"
		}
		errs = append(errs, os.WriteFile(dir+"/"+name, []byte(text), 0o600), os.Chown(dir+"/"+name, int(user), int(user)), unix.Chmod(dir+"/"+name, mode))
	}
	for _, name := range []string{"/shown", "/shown/sub", "/shown/private", "/tmp"} {
		errs = append(errs, os.Chown(dir+name, int(user), int(user)))
	}
	for _, name := range []string{"/roots", "/shown/roots"} { // whoever it is
		errs = append(errs, os.WriteFile(dir+name, []byte("ROOT'S\n"), 0o600))
	}
	if err := errors.Join(append(errs, os.Chmod(dir, 0o755))...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCancel: a virtual machine ends with its context, also while it starts.
func TestCancel(t *testing.T) {
	r := newRunner(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := r.Run(ctx, sandboxtest.Script(sandboxtest.Busybox(t), "sleep 1000"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// TestMissing: the error says what the machine lacks, and what to do.
func TestMissing(t *testing.T) {
	testtools.Need(t, "qemu-system-x86_64")
	for name, opts := range map[string]vm.Options{
		"no kernel": {Kernel: "/etc/passwd"},
		"no file":   {Kernel: "/nonexistent"},
	} {
		_, err := vm.New(opts).Run(t.Context(), sandboxtest.Script(sandboxtest.Busybox(t), "true"))
		var missing *lack.Error
		var kernel *vm.KernelError
		if !errors.As(err, &missing) || !errors.As(err, &kernel) || kernel.Fault != vm.KernelNamed {
			t.Errorf("%s: error %v, want that of a kernel that was named", name, err)
		}
	}
	step := sandboxtest.Script(sandboxtest.Busybox(t), "true")
	step.Network = sandbox.NetworkHost
	if _, err := vm.New(vm.Options{}).Run(t.Context(), step); err == nil {
		t.Error("a step with the machine's network is not refused")
	}
}
