package enginetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// NixStore is a Nix with a store of its own, which is empty at first. Its commands
// see it at /nix, and everything else of the machine under the same names; the
// machine's own /nix, if any, is neither seen nor changed. Nothing is ever fetched.
//
// Found on Debian 12's Nix 2.8: root may build without a group of users only if
// build-users-group is empty. The sandbox wants user namespaces, which the
// kernel refuses below a chroot: hence a pivot_root.
type NixStore struct {
	t testing.TB
	// root holds nix, which is mounted at /nix, and the store's other files.
	root   string
	daemon bool
}

// Nix returns a Nix that root uses alone: its commands run as root, and build
// without a sandbox.
func Nix(t testing.TB) *NixStore {
	t.Helper()
	return newNix(t, false, `build-users-group =
sandbox = false
`)
}

// NixDaemon returns a Nix with a daemon, which builds as other users and in a
// sandbox that shows nothing but the store: not even /bin/sh. Its commands run
// as an ordinary user called tester.
func NixDaemon(t testing.TB) *NixStore {
	t.Helper()
	n := newNix(t, true, `build-users-group = nixbld
sandbox = true
sandbox-fallback = false
sandbox-paths =
trusted-users = root
`)
	ready := func() error {
		_, err := n.check("nix-store", "--verify")
		return err
	}
	log := filepath.Join(n.root, "log")
	process, err := startDaemon(log, ready, n.environment("local"), n.enter("nix-daemon")...)
	if err != nil {
		t.Fatalf("start nix-daemon: %v", err)
	}
	t.Cleanup(process.stop)
	return n
}

// testerID is the user that a daemon's clients run as.
const testerID = 1000

// nixUsers are the /etc/passwd and /etc/group that a daemon and its clients see.
const (
	nixPasswd = `root:x:0:0::/root:/bin/sh
nobody:x:65534:65534::/nonexistent:/bin/false
tester:x:1000:1000::/nonexistent:/bin/false
nixbld1:x:30001:30000::/var/empty:/bin/false
nixbld2:x:30002:30000::/var/empty:/bin/false
nixbld3:x:30003:30000::/var/empty:/bin/false
`
	nixGroup = `root:x:0:
nogroup:x:65534:
tester:x:1000:
nixbld:x:30000:nixbld1,nixbld2,nixbld3
`
)

func newNix(t testing.TB, daemon bool, config string) *NixStore {
	t.Helper()
	if err := need("nix-store", "nix-build", "pivot_root", "setpriv"); errors.Is(err, errMissing) {
		testtools.Lack(t, "%v", err)
	}
	home, err := newHome()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := home.remove(); err != nil {
			t.Error(err)
		}
	})
	n := &NixStore{t: t, root: home.dir, daemon: daemon}
	if err := os.Chmod(n.root, 0o755); err != nil { // a daemon's users have to get in
		t.Fatal(err)
	}
	for _, dir := range []string{"nix", "home", "etc"} {
		if err := os.Mkdir(filepath.Join(n.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"etc/nix.conf": "substitute = false\nfsync-metadata = false\nexperimental-features = nix-command flakes\n" + config}
	if daemon {
		files["etc/passwd"], files["etc/group"] = nixPasswd, nixGroup
		if err := os.Chown(n.Home(), testerID, testerID); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(n.root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// Root returns the directory in which the store is nix/store: its physical root,
// for programs that do not see it at /nix.
func (n *NixStore) Root() string { return n.root }

// Home returns a directory that the commands may write to, and start in.
func (n *NixStore) Home() string { return filepath.Join(n.root, "home") }

// Command returns a command that sees the store at /nix. It may be Nix's or any other.
func (n *NixStore) Command(ctx context.Context, args ...string) *exec.Cmd {
	remote := "local"
	if n.daemon {
		remote = "daemon"
		id := fmt.Sprint(testerID)
		args = append([]string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups"}, args...)
	}
	argv := append(namespaces(), n.enter(args...)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = n.Home(), n.environment(remote)
	cmd.SysProcAttr = dieWithParent()
	return cmd
}

// Run runs a command and returns its standard output. If it fails, so does the
// test.
func (n *NixStore) Run(args ...string) string {
	n.t.Helper()
	stdout, err := n.check(args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return stdout
}

// RunInput is Run with a standard input.
func (n *NixStore) RunInput(stdin string, args ...string) string {
	n.t.Helper()
	stdout, err := n.checkInput(stdin, args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return stdout
}

func (n *NixStore) check(args ...string) (string, error) { return n.checkInput("", args...) }

func (n *NixStore) checkInput(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := n.Command(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	result, err := Output(cmd)
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("%q: exit code %d: %s", args, result.ExitCode, strings.TrimSpace(result.Stderr))
	}
	return result.Stdout, err
}

// environment returns the environment of a Nix process, which uses the store itself
// or asks a daemon.
func (n *NixStore) environment(remote string) []string {
	return environment(n.Home(), "NIX_REMOTE="+remote, "NIX_CONF_DIR="+filepath.Join(n.root, "etc"))
}

// enter returns the command that runs args where n.root/nix is /nix. It has to
// run in a mount namespace of its own.
func (n *NixStore) enter(args ...string) []string {
	// A new root that has all of the old one's directories. It is put together
	// at /mnt, so that no directory that it takes over holds it.
	const script = `set -e
own=$1 dir=$(pwd); shift
mount -t tmpfs -o mode=755 tmpfs /mnt
for entry in /* /.[!.]*; do
	name=${entry#/}
	case $name in mnt | nix) continue ;; esac
	if [ -L "$entry" ]; then
		cp -P "$entry" "/mnt/$name"
	elif [ -d "$entry" ]; then
		mkdir "/mnt/$name"
		mount --rbind "$entry" "/mnt/$name"
	fi
done
mkdir /mnt/mnt /mnt/nix
mount --bind "$own/nix" /mnt/nix
for file in passwd group; do
	[ ! -e "$own/etc/$file" ] || mount --bind "$own/etc/$file" "/mnt/etc/$file"
done
cd /mnt
pivot_root . mnt
umount -l /mnt
cd "$dir"
exec "$@"`
	return append([]string{"sh", "-c", script, "sh", n.root}, args...)
}
