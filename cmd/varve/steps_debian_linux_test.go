package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/debianbase"
	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// writePackage makes a Debian package with a file, a configuration file, and a
// script that gives a directory of its own away when it is installed.
func writePackage(t *testing.T, dir, name, depends string) {
	t.Helper()
	tree := filepath.Join(openDir(t, ""), "package")
	put(t, filepath.Join(tree, "DEBIAN/control"), "Package: "+name+`
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.org>
Depends: `+depends+`
Description: a test
`, 0o644)
	put(t, filepath.Join(tree, "DEBIAN/conffiles"), "/etc/"+name+".conf\n", 0o644)
	put(t, filepath.Join(tree, "DEBIAN/postinst"), `#!/bin/sh
set -e
test "$1" = configure
chown www-data:www-data /var/lib/`+name+`
chmod 2750 /var/lib/`+name+`
echo "$(id -u) $1" > /var/lib/`+name+`/installed
`, 0o755)
	put(t, filepath.Join(tree, "etc", name+".conf"), "a = b\n", 0o644)
	put(t, filepath.Join(tree, "usr/bin", name), "#!/bin/sh\necho "+name+"\n", 0o755)
	makeDirs(t, filepath.Join(tree, "var/lib", name))
	out, err := exec.Command(testtools.Need(t, "dpkg-deb"), "--build", "--root-owner-group", tree, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
}

// debianSteps makes a directory with a Debian base image, packages, and the
// spec of an image that has them installed.
func debianSteps(t *testing.T) string {
	t.Helper()
	testtools.NeedRoot(t)
	root := debianbase.Apt(t)
	dir := openDir(t, "")
	must(t, os.Chmod(dir, 0o777))
	makeDirs(t, filepath.Join(dir, "add/debs"))
	writePackage(t, filepath.Join(dir, "add/debs"), "varve-one", "base-files")
	writePackage(t, filepath.Join(dir, "add/debs"), "varve-two", "varve-one (>= 1.0)")
	put(t, filepath.Join(dir, "debian.yaml"), "name: debian\ntag: one\ncopyToRoot: [{source: "+root+", owner: keep}]\nkeepContentsDirlinks: true\n", 0o644)
	put(t, filepath.Join(dir, "image.yaml"), `
name: varve-dpkg
tag: one
fromImage: debian.tar
copyToRoot: [add]
runAsRoot: |
  dpkg --install /debs/*.deb
  dpkg --verify
  dpkg --purge varve-two
  rm -rf /debs /var/log/*
config: {Env: ["PATH=/usr/bin:/bin"]}
`, 0o644)
	mustRun(t, dir, "build", "debian.yaml", "-q", "-o", "debian.tar")
	return dir
}

// TestStepsDebian: dpkg and apt-get install packages in a Debian base, without
// a network, whoever runs them.
func TestStepsDebian(t *testing.T) {
	dir := debianSteps(t)
	want := ""
	for _, u := range stepsUsers {
		t.Run("apt-get, "+u.name, func(t *testing.T) {
			cmd, temp := u.command(t, dir, "run-step", "debian.tar", "--bind", filepath.Join(dir, "add/debs")+":/mnt/debs",
				"--script", "apt-get install --yes /mnt/debs/*.deb\napt-get remove --yes varve-two")
			o := run(t, cmd)
			if o.code != 0 {
				t.Fatalf("exit code %d: %s", o.code, o.stderr)
			}
			// apt gives the directory of its lists to the user that it fetches as.
			mustFind(t, o.stdout, "A d 2750 33:33 /var/lib/varve-one\n", "A - 0755 0:0 25 B /usr/bin/varve-one\n",
				"A d 0755 42:0 /var/lib/apt/lists/auxfiles\n", "A - 0640 0:4 ", "A - 0644 0:0 6 B /etc/varve-two.conf\n")
			mustFind(t, o.stderr, "runAsRoot: Setting up varve-two (1.0)", "runAsRoot: Removing varve-two (1.0)")
			if strings.Contains(o.stdout, "/usr/bin/varve-two") || strings.Contains(o.stdout, "/mnt") {
				t.Errorf("it changed %s", o.stdout)
			}
			if left := names(temp); len(left) > 0 {
				t.Errorf("left in TMPDIR: %q", left)
			}
		})
		t.Run("build, "+u.name, func(t *testing.T) {
			got := buildSteps(t, u, dir, "image", "dpkg.tar")
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("the image is %s, root's is %s", got, want)
			}
		})
	}
	t.Run("docker", func(t *testing.T) {
		docker := engines.Get(t, "docker")
		image, err := docker.Load(t.Context(), filepath.Join(dir, "dpkg.tar"))
		must(t, err)
		defer docker.Remove(t.Context(), image)
		got, err := docker.Run(t.Context(), image, "/bin/sh", "-c",
			"varve-one; stat -c '%a %U:%G' /var/lib/varve-one; cat /var/lib/varve-one/installed; dpkg-query -W -f '${Package} ${db:Status-Status}\n' 'varve-*'; ls -d /debs /etc/varve-two.conf 2>/dev/null || true")
		if shows := (enginetest.Result{Stdout: "varve-one\n2750 www-data:www-data\n0 configure\nvarve-one installed\n"}); err != nil || got != shows {
			t.Errorf("run: %v\n%+v\nwant\n%+v", err, got, shows)
		}
	})
}
