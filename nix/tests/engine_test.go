package tests

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// docker runs a command of Docker's client, which must not fail. Cleanups call
// it too, when the test's context is done.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, engines.Docker(t).Command(context.Background(), args...))
}

// dockerFails runs a command that has to fail.
func dockerFails(t *testing.T, args ...string) {
	t.Helper()
	result, err := enginetest.Output(engines.Docker(t).Command(t.Context(), args...))
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode == 0 {
		t.Errorf("docker %q did not fail: %s", args, result.Stdout)
	}
}

// run runs a container.
func run(t *testing.T, args ...string) string {
	t.Helper()
	return docker(t, append([]string{"run", "--rm", "--network", "none"}, args...)...)
}

// load loads the result of an example: an archive, or a program's output.
func (s *site) load(t *testing.T, e example) {
	t.Helper()
	load := engines.Docker(t).Command(t.Context(), "load", "--input", s.Root()+e.Path)
	if !e.IsExe {
		command(t, load)
		return
	}
	stream := s.Command(t.Context(), e.Path)
	pipe, err := stream.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	load = engines.Docker(t).Command(t.Context(), "load")
	load.Stdin = pipe
	if err := stream.Start(); err != nil {
		t.Fatal(err)
	}
	command(t, load)
	if err := stream.Wait(); err != nil {
		t.Fatalf("%s: %v", e.Path, err)
	}
}

// publish puts an image that has Nix into a registry, and returns pullImage's
// arguments, as Nix code. The hash is that of the archive that skopeo makes.
func publish(t *testing.T, s *site) string {
	t.Helper()
	skopeo := testtools.Need(t, "skopeo")
	path := s.build(t, `buildLayeredImage {
    name = "nix"; tag = "latest"; contents = [ pkgs.nix pkgs.coreutils ]; compressor = "none"; config.Env = [ "USER=nobody" ];
  }`)[0]
	host := enginetest.Registry(t)
	dir := t.TempDir()
	command(t, exec.CommandContext(t.Context(), skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", "--digestfile", dir+"/digest",
		"docker-archive:"+s.Root()+path, "docker://"+host+"/nixos/nix:latest"))
	digest := strings.TrimSpace(command(t, exec.CommandContext(t.Context(), "cat", dir+"/digest")))
	command(t, exec.CommandContext(t.Context(), skopeo, "copy", "--insecure-policy", "--src-tls-verify=false",
		"docker://"+host+"/nixos/nix@"+digest, "docker-archive:"+dir+"/nix.tar:nix:2.2.1"))
	hash := strings.Fields(command(t, exec.CommandContext(t.Context(), "sha256sum", dir+"/nix.tar")))[0]
	return fmt.Sprintf(`{ imageName = %q; imageDigest = %q; sha256 = %q; finalImageName = "nix"; finalImageTag = "2.2.1"; tlsVerify = false; }`,
		host+"/nixos/nix", digest, hash)
}
