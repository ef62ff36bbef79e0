// Package debianbase gives tests small Debian root file systems, made by mmdebstrap
// from the package source of the machine's apt.
//
// Guarantees:
//
//   - Each is made once and kept in the system's directory for temporary files
//     for half a day, for all test binaries and concurrent callers.
//   - They have merged /usr (/bin -> usr/bin and so on), dpkg's database, owners
//     other than root, set-id programs and device nodes, as any Debian.
//   - On a machine that cannot make them the test is skipped, or fails under
//     CI=true: see package testtools.
//
// Only tests import this package.
package debianbase

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/testtools"
)

const (
	// keepFor is how long a root file system is reused.
	keepFor = 12 * time.Hour
	// timeout limits making it. On a quiet machine it takes a quarter minute.
	timeout = 12 * time.Minute
)

// least are the packages that are always there: a shell, the usual tools, and what
// installs more.
var least = []string{
	"base-files", "base-passwd", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "grep", "libc-bin", "mawk", "sed", "tar",
}

// Least returns the path of a root file system's tar that has a shell, the usual
// tools and dpkg. The tar must not be changed, and only its owner can read it.
func Least(t testing.TB) string {
	t.Helper()
	return tar(t, "--variant=custom", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
		"--include="+strings.Join(least, ","),
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*")
}

// Apt is Least plus all essential packages, apt (without lists), and shadow's tools.
func Apt(t testing.TB) string {
	t.Helper()
	return tar(t, "--variant=apt", "--dpkgopt=force-unsafe-io")
}

// tar runs mmdebstrap. The examples have the same options.
func tar(t testing.TB, options ...string) string {
	t.Helper()
	o := find(t)
	args := slices.Concat([]string{"--quiet"}, options, []string{o.suite, "-"})
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.program(t, t.TempDir()), args...)
	cmd.Env = append(os.Environ(), epoch, "LC_ALL=C.UTF-8")
	// It unmounts and removes what it made when it receives this signal.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		text := stderr.String()
		testtools.Lack(t, "a Debian root file system: mmdebstrap: %v\n%s", err, text[max(0, len(text)-2000):])
	}
	return filepath.Join(o.dir, key(args)+".tar")
}

// Program writes a program named mmdebstrap into the directory bin: mmdebstrap with
// the machine's mirror, which caches its output by its arguments. These have to end
// in "SUITE -".
func Program(t testing.TB, bin string) {
	t.Helper()
	find(t).program(t, bin)
}

// epoch makes what mmdebstrap itself writes reproducible.
const epoch = "SOURCE_DATE_EPOCH=1"

// origin says where the root file system comes from and where it is kept.
type origin struct {
	real, mirror, suite, dir string
}

func find(t testing.TB) *origin {
	t.Helper()
	o := &origin{real: testtools.Need(t, "mmdebstrap")}
	testtools.Need(t, "flock")
	var err error
	if o.mirror, o.suite, err = mirror(t.Context()); err != nil {
		testtools.Lack(t, "a Debian mirror: %v", err)
	}
	if o.dir, err = place(); err != nil {
		t.Fatal(err)
	}
	return o
}

// program writes the caching program.
func (o *origin) program(t testing.TB, bin string) string {
	t.Helper()
	const text = `#!/bin/sh
set -eu
umask 022
key=$(printf '%%s\n' "$@" | sha256sum | cut -c1-16)
cd %q
exec 9>lock
flock 9
find . -name '*.tar' -mmin +%d -delete
rm -rf part
if ! [ -e "$key.tar" ]; then
	mkdir part
	# Debian's own python, for what it starts for each package.
	PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=$PWD/part %q "$@" %q >part/root
	mv part/root "$key.tar"
	rm -rf part
fi
cat "$key.tar"
`
	name := filepath.Join(bin, "mmdebstrap")
	script := fmt.Sprintf(text, o.dir, int(keepFor.Minutes()), o.real, o.mirror)
	if err := os.WriteFile(name, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// key returns the program's name for the result of arguments.
func key(args []string) string {
	sum := sha256.Sum256([]byte(strings.Join(args, "\n") + "\n"))
	return fmt.Sprintf("%x", sum[:8])
}

// mirror finds the source from which apt takes a package that every Debian has.
func mirror(ctx context.Context) (uri, suite string, err error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "policy", "base-files").Output()
	if err != nil {
		return "", "", fmt.Errorf("apt-cache policy: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		// 500 http://deb.debian.org/debian bookworm/main amd64 Packages
		f := strings.Fields(line)
		if len(f) == 5 && f[4] == "Packages" && strings.Contains(f[1], "://") {
			suite, _, _ := strings.Cut(f[2], "/")
			return f[1], suite, nil
		}
	}
	return "", "", errors.New("apt knows of none: run apt-get update")
}

// place returns a directory of this user's own.
func place() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("varve-debian-%d", os.Geteuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !st.IsDir() || !ok || int(sys.Uid) != os.Geteuid() || st.Mode().Perm() != 0o700 {
		return "", fmt.Errorf("%s is not a directory that is this user's alone", dir)
	}
	return dir, nil
}
