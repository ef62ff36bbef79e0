package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// TestRegistry: an image goes to a registry and comes back the same; another one is
// built on it, by digest, or by tag if that is requested.
func TestRegistry(t *testing.T) {
	host := enginetest.Registry(t)
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "motd"), "hello\n", 0o644)
	put(t, filepath.Join(dir, "child.yaml"), "name: child\ntag: \"1\"\ncopyToRoot: [{source: motd, target: /etc/}]\n", 0o644)
	remote := "docker://" + host + "/team/base:1"
	fails := func(code int, word string, args ...string) {
		t.Helper()
		o := run(t, varve(t, dir, args...))
		if o.code != code {
			t.Errorf("varve %q: exit code %d, want %d: %s", args, o.code, code, o.stderr)
		}
		mustFind(t, o.stderr, word)
	}
	mustRun(t, dir, "build", "--name", "base", "--tag", "1", "--copy", "motd", "--env", "A=1", "-q", "-o", "oci:base:1")
	fails(1, "--insecure", "copy", "oci:base:1", remote)
	pushed := mustRun(t, dir, "copy", "oci:base:1", remote, "--insecure", host)
	mustRun(t, dir, "copy", "-q", remote, "oci:back:1", "--insecure", host)
	if a, b := fingerprint(t, filepath.Join(dir, "base", "blobs"), false), fingerprint(t, filepath.Join(dir, "back", "blobs"), false); a != b {
		t.Errorf("it comes back as\n%s\nwant\n%s", b, a)
	}
	_, digest, _ := strings.Cut(pushed.stderr, " is sha256:")
	digest = "@sha256:" + digest[:64]
	shown := mustRun(t, dir, "inspect", remote+digest, "--insecure", host)
	mustFind(t, shown.stdout, strings.TrimPrefix(digest, "@"), `["A=1"]`)

	fails(2, "--unlocked", "build", "child.yaml", "--from", remote, "--insecure", host, "-o", "child.tar")
	mustRun(t, dir, "build", "child.yaml", "--from", remote, "--unlocked", "--insecure", host, "-q", "-o", "child.tar")
	mustRun(t, dir, "build", "child.yaml", "--from", remote+digest, "--insecure", host, "-q", "-o", "pinned.tar")
	if a, b := fingerprint(t, filepath.Join(dir, "child.tar"), false), fingerprint(t, filepath.Join(dir, "pinned.tar"), false); a != b {
		t.Errorf("by tag and by digest differ")
	}
	mustRun(t, dir, "build", "child.yaml", "--from", remote+digest, "--insecure", host, "-q", "-o", "docker://"+host+"/team/child:2")
	mustFind(t, mustRun(t, dir, "inspect", "docker://"+host+"/team/child:2", "--insecure", host).stdout, "in 2 layers")

	// pull writes what skopeo writes of the image, and checks its hash.
	pulled := mustRun(t, dir, "pull", host+"/team/base:1"+digest, "--name", "final:2", "--insecure", host, "-o", "pulled.tar")
	_, hash, _ := strings.Cut(strings.TrimSpace(pulled.stderr), "hash ")
	if skopeo, err := exec.LookPath("skopeo"); err == nil {
		cmd := exec.Command(skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+host+"/team/base"+digest, "docker-archive:"+filepath.Join(dir, "skopeo.tar")+":final:2")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("skopeo: %v: %s", err, out)
		}
		if a, b := fingerprint(t, filepath.Join(dir, "pulled.tar"), false), fingerprint(t, filepath.Join(dir, "skopeo.tar"), false); a != b {
			t.Errorf("pull writes %s, skopeo %s", a, b)
		}
	}
	mustRun(t, dir, "pull", host+"/team/base"+digest, "--name", "final:2", "--insecure", host, "-q", "--hash", hash)
	if _, err := os.Stat(filepath.Join(dir, "docker-image-final-2.tar")); err != nil {
		t.Error(err)
	}
	fails(4, "expected sha256:", "pull", host+"/team/base"+digest, "--insecure", host, "-o", "bad.tar", "--hash", "sha256-"+strings.Repeat("A", 43)+"=")
	if _, err := os.Stat(filepath.Join(dir, "bad.tar")); err == nil {
		t.Error("a file of the wrong hash is there")
	}
	fails(2, "not pinned", "pull", host+"/team/base:1", "--insecure", host)
	mustRun(t, dir, "push", "-q", "child.tar", "docker://"+host+"/team/pushed:1", "--insecure", host)
	mustFind(t, mustRun(t, dir, "inspect", "docker://"+host+"/team/pushed:1", "--insecure", host).stdout, "in 2 layers")
	fails(2, "names no registry", "push", "child.tar")

	fails(2, "nothing", "inspect", "docker://"+host+"/team/nothing:1", "--insecure", host)
	fails(2, "platform", "inspect", remote, "--platform", "linux", "--insecure", host)
	fails(2, "--password-stdin", "inspect", remote, "--username", "me", "--insecure", host)
	fails(2, "digest", "copy", "oci:base:1", remote+digest, "--insecure", host)
}

// TestPrefetchForNix: the output of prefetch is Nix code, and its hashes are those
// that Nix computes.
func TestPrefetchForNix(t *testing.T) {
	hasher, evaluator, nixTool := testtools.Need(t, "nix-hash"), testtools.Need(t, "nix-instantiate"), testtools.Need(t, "nix")
	host := enginetest.Registry(t)
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "motd"), "hello\n", 0o644)
	ref := host + "/team/hello:1"
	mustRun(t, dir, "build", "--name", "hello", "--tag", "1", "--copy", "motd", "-q", "-o", "docker://"+ref, "--insecure", host)
	nix := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "NIX_STATE_DIR="+filepath.Join(dir, "nix"), "HOME="+dir)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %q: %v", name, args, err)
		}
		return strings.TrimSpace(string(out))
	}
	var printed [2]string
	for i, format := range []string{"sri", "base32"} {
		printed[i] = mustRun(t, dir, "prefetch", ref, "--insecure", host, "--hash-format", format).stdout
		put(t, filepath.Join(dir, format+".nix"), printed[i], 0o644)
	}
	digest := nix(evaluator, "--eval", "--strict", "-E", "(import ./sri.nix).imageDigest")
	mustRun(t, dir, "pull", host+"/team/hello@"+strings.Trim(digest, `"`), "--name", ref, "-o", "pulled.tar", "-q", "--insecure", host)
	if got, want := nix(evaluator, "--eval", "-E", "(import ./base32.nix).sha256"), nix(hasher, "--flat", "--type", "sha256", "--base32", "pulled.tar"); got != `"`+want+`"` {
		t.Errorf("base 32: %s, want %s", got, want)
	}
	if got, want := nix(evaluator, "--eval", "-E", "(import ./sri.nix).hash"), nix(nixTool, "--extra-experimental-features", "nix-command", "hash", "file", "--type", "sha256", "--sri", "pulled.tar"); got != `"`+want+`"` {
		t.Errorf("SRI: %s, want %s", got, want)
	}
}

// TestIndexInRegistry: Docker's registry accepts an index that varve makes, from
// which skopeo takes the image for a platform; and varve takes the right image from
// an index that skopeo brought there.
func TestIndexInRegistry(t *testing.T) {
	skopeo := testtools.Need(t, "skopeo")
	host := enginetest.Registry(t)
	dir := openDir(t, "")
	for _, arch := range []string{"amd64", "arm64"} {
		put(t, filepath.Join(dir, arch), "for "+arch+"\n", 0o644)
	}
	remote := "docker://" + host + "/team/hello:1"
	mustRun(t, dir, "build", "--name", "hello", "--tag", "1", "--copy", "${arch}", "--platform", "linux/amd64,linux/arm64", "-q", "-o", remote, "--insecure", host)
	copyAs := func(args ...string) {
		t.Helper()
		cmd := exec.Command(skopeo, append([]string{"--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("skopeo %q: %v: %s", args, err, out)
		}
	}
	manifest := func(ref, arch string) string {
		t.Helper()
		return mustRun(t, dir, "inspect", "--raw", ref, "--platform", "linux/"+arch, "--insecure", host).stdout
	}
	copyAs("--all", remote, "docker://"+host+"/other/hello:2")
	for _, arch := range []string{"amd64", "arm64"} {
		layout := filepath.Join(dir, "layout-"+arch)
		cmd := []string{"--override-arch", arch, "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", remote, "oci:" + layout + ":1"}
		if out, err := exec.Command(skopeo, cmd...).CombinedOutput(); err != nil {
			t.Fatalf("skopeo %q: %v: %s", cmd, err, out)
		}
		want := manifest(remote, arch)
		if got := mustRun(t, dir, "inspect", "--raw", "oci:"+layout).stdout; got != want {
			t.Errorf("for %s skopeo takes\n%s\nwant\n%s", arch, got, want)
		}
		if got := manifest("docker://"+host+"/other/hello:2", arch); got != want {
			t.Errorf("for %s varve takes of skopeo's copy\n%s\nwant\n%s", arch, got, want)
		}
	}
}
