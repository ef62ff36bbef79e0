// Package debianbase gives tests a small Debian root file system, made by
// mmdebstrap of packages from where the machine's apt has its own.
//
// Guarantees:
//
//   - It is made once and kept in the system's place for temporary files for
//     half a day, for all test binaries and whoever asks at the same time.
//   - It has merged /usr (/bin -> usr/bin and so on), dpkg's database, owners
//     other than root, set-id programs and device nodes, as any Debian.
//   - A machine that cannot make it is a skip, or a failure under CI=true: see
//     package testtools.
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

	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/testtools"
)

const (
	// keepFor is how long what was made serves.
	keepFor = 12 * time.Hour
	// timeout bounds making it. On a quiet machine it takes a quarter minute.
	timeout = 12 * time.Minute
)

// least are the packages that there always are: a shell, the usual tools, and
// what installs more.
var least = []string{
	"base-files", "base-passwd", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "grep", "libc-bin", "mawk", "sed", "tar",
}

// Tar returns the path of the root file system's tar, with further packages
// and what they depend on: of apt it has no lists. The tar is not to be
// changed, and only its owner can read it.
func Tar(t testing.TB, packages ...string) string {
	t.Helper()
	program := testtools.Need(t, "mmdebstrap")
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	args, err := arguments(ctx, packages)
	if err != nil {
		testtools.Lack(t, "a Debian mirror: %v", err)
	}
	dir, err := place()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := flock.Wait(ctx, lock, flock.Exclusive); err != nil {
		t.Fatal(err)
	}
	removeOld(dir)
	sum := sha256.Sum256([]byte(strings.Join(args, "\x00")))
	name := filepath.Join(dir, fmt.Sprintf("%x.tar", sum[:8]))
	if _, err := os.Stat(name); err == nil {
		return name
	}
	if err := build(ctx, program, args, dir, name); err != nil {
		testtools.Lack(t, "a Debian root file system: %v", err)
	}
	return name
}

// arguments are mmdebstrap's, but for the output.
func arguments(ctx context.Context, packages []string) ([]string, error) {
	mirror, suite, err := origin(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(least, packages)
	args := []string{
		"--quiet", "--variant=custom", "--format=tar", "--include=" + strings.Join(all, ","),
		"--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--dpkgopt=force-unsafe-io",
	}
	for _, dir := range []string{"doc", "info", "locale", "man"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+dir+"/*")
	}
	return append(args, suite, "-", mirror), nil
}

// origin finds where apt takes a package from that every Debian has.
func origin(ctx context.Context) (mirror, suite string, err error) {
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

// place is a directory of this user's own.
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

// removeOld removes what has served its time, and what a killed process left.
func removeOld(dir string) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if f.Name() == "lock" {
			continue
		}
		info, err := f.Info()
		if err == nil && (time.Since(info.ModTime()) > keepFor || !strings.HasSuffix(f.Name(), ".tar")) {
			_ = os.RemoveAll(filepath.Join(dir, f.Name()))
		}
	}
}

func build(ctx context.Context, program string, args []string, dir, name string) error {
	temp := filepath.Join(dir, "part")
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	part, err := os.Create(filepath.Join(temp, "root"))
	if err != nil {
		return err
	}
	defer part.Close()
	cmd := exec.CommandContext(ctx, program, args...)
	// Its own files are of the time 1, so that it is the same each time.
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1", "TMPDIR="+temp, "LC_ALL=C.UTF-8")
	cmd.Stdout = part
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.WaitDelay = 10 * time.Second
	// It unmounts and removes what it made when it is asked to end.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Run(); err != nil {
		text := stderr.String()
		return fmt.Errorf("mmdebstrap: %w\n%s", err, text[max(0, len(text)-2000):])
	}
	return os.Rename(part.Name(), name)
}
