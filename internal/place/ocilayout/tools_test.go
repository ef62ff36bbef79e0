package ocilayout_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/testtools"
)

// run runs a program and returns what it prints on stdout.
func run(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testtools.Need(t, args[0]), args[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, stderr.Bytes())
	}
	return out
}

// writeBoth writes an image as a directory with another one, and as an
// archive. It returns skopeo's names for them.
func writeBoth(t *testing.T, c string) (dir, archive, digest string) {
	t.Helper()
	temp := t.TempDir()
	opts := ocilayout.Options{Compression: parse(t, c), TempDir: temp}
	out := filepath.Join(temp, "layout")
	if _, err := ocilayout.WriteDir(t.Context(), newImage("other"), out, opts); err != nil {
		t.Fatal(err)
	}
	d, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, opts)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(temp, "archive.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := ocilayout.WriteArchive(t.Context(), f, newImage("v1"), opts); err != nil {
		t.Fatal(err)
	}
	return "oci:" + out + ":v1", "oci-archive:" + f.Name(), d.String()
}

func TestSkopeo(t *testing.T) {
	testtools.Need(t, "skopeo")
	for _, c := range compressions {
		dir, archive, digest := writeBoth(t, c)
		for _, ref := range []string{dir, archive, archive + ":v1"} {
			var inspected struct {
				Digest, Architecture, Os string
				Layers                   []string
			}
			unmarshal(t, run(t, "skopeo", "inspect", ref), &inspected)
			if inspected.Digest != digest || inspected.Architecture != "amd64" || inspected.Os != "linux" || len(inspected.Layers) != 3 {
				t.Errorf("skopeo inspect %s: %+v", ref, inspected)
			}
			// Copied, the image is another tool's layout, which reads as ours.
			copied := filepath.Join(t.TempDir(), "copied")
			run(t, "skopeo", "copy", "--insecure-policy", "--quiet", "--preserve-digests", ref, "oci:"+copied+":v1")
			var index v1.Index
			unmarshal(t, mustRead(t, copied+"/index.json"), &index)
			if got := index.Manifests[0].Digest.String(); got != digest {
				t.Errorf("skopeo copy %s: manifest %s, want %s", ref, got, digest)
			}
			if err := readAll(t.Context(), copied); err != nil {
				t.Errorf("reading skopeo's copy: %v", err)
			}
			if _, err := ocilayout.WriteDir(t.Context(), newImage("more"), copied, ocilayout.Options{}); err != nil {
				t.Errorf("adding to skopeo's layout: %v", err)
			}
			run(t, "skopeo", "inspect", "oci:"+copied+":more")
			run(t, "skopeo", "inspect", "oci:"+copied+":v1")
		}
	}
}

func TestUmoci(t *testing.T) {
	testtools.Need(t, "umoci")
	for _, c := range []string{"none", "gz"} { // Debian's cannot read zstd
		out := filepath.Join(t.TempDir(), "layout")
		if _, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, ocilayout.Options{Compression: parse(t, c)}); err != nil {
			t.Fatal(err)
		}
		if got := string(run(t, "umoci", "ls", "--layout", out)); got != "v1\n" {
			t.Errorf("umoci ls: %q", got)
		}
		bundle := filepath.Join(t.TempDir(), "bundle")
		args := []string{"umoci", "unpack", "--image", out + ":v1", bundle}
		if os.Geteuid() != 0 {
			args = append(args, "--rootless")
		}
		run(t, args...)
		if got := string(mustRead(t, bundle+"/rootfs/etc/motd")); got != "hello from v1\n" {
			t.Errorf("%s: /etc/motd is %q", c, got)
		}
		var config struct{ Process struct{ Args []string } }
		if err := json.Unmarshal(mustRead(t, bundle+"/config.json"), &config); err != nil || len(config.Process.Args) != 1 {
			t.Errorf("%s: args %q, %v", c, config.Process.Args, err)
		}
	}
}
