package enginetest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var engines Set

func TestMain(m *testing.M) { os.Exit(engines.Around(m).Run()) }

// TestRun: output and exit code of a container are passed on, for the image's
// command and for a given one.
func TestRun(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			e := engines.Get(t, name)
			archive := filepath.Join(t.TempDir(), "image.tar")
			if err := os.WriteFile(archive, dockerArchive(t), 0o644); err != nil {
				t.Fatal(err)
			}
			image, err := e.Load(t.Context(), archive)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(image, imageName) {
				t.Errorf("loaded image is %q", image)
			}
			for _, c := range []struct {
				args []string
				want Result
			}{
				{nil, Result{Stdout: "out\n", Stderr: "err\n", ExitCode: 3}},
				{[]string{"/bin/sh", "-c", "echo other; exit 42"}, Result{Stdout: "other\n", ExitCode: 42}},
				{[]string{"/bin/busybox", "true"}, Result{}},
			} {
				CheckRun(t, e, image, c.want, c.args...)
			}
			if err := e.Remove(t.Context(), image); err != nil {
				t.Error(err)
			}
			if r, err := e.Run(t.Context(), image); err == nil {
				t.Errorf("run of an image that was removed: %+v", r)
			}
		})
	}
}

// TestFormats: each engine reads what it is known to read, and reports an error for
// the rest.
func TestFormats(t *testing.T) {
	// Podman makes an image name from a layout's path: no upper case letters.
	dir, err := os.MkdirTemp("", "formats")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	paths := formats(t, dir)
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			e := engines.Get(t, name)
			for format, path := range paths {
				reads := Reads(t, name)[format]
				image, err := e.Load(t.Context(), path)
				switch {
				case err != nil && reads:
					t.Errorf("%s: %v", format, err)
				case err == nil && !reads && Current():
					t.Errorf("%s: it reads it, docs/compatibility.md says that it does not", format)
				case err == nil && !reads:
					t.Logf("%s: Debian 12's version refuses it, this one reads it", format)
				case err != nil:
					t.Logf("%s: %v", format, err)
				}
				if err == nil {
					if err := e.Remove(t.Context(), image); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}

// TestTools: skopeo and umoci read the layout.
func TestTools(t *testing.T) {
	dir := t.TempDir()
	paths := formats(t, dir)
	if r := Skopeo(t, "inspect", "oci:"+paths["oci"]+":one"); !strings.Contains(r.Stdout, `"Architecture"`) {
		t.Errorf("skopeo inspect: %+v", r)
	}
	if r := Skopeo(t, "inspect", "oci:"+dir+"/none"); r.ExitCode == 0 {
		t.Errorf("skopeo inspect of a layout that is not there: %+v", r)
	}
	for _, format := range []string{"tar", "tar.gz", "tar.zst"} {
		if r := Skopeo(t, "inspect", "docker-archive:"+paths[format]); r.ExitCode != 0 {
			t.Logf("skopeo refuses %s: %s", format, r.Stderr)
		}
	}
	bundle := filepath.Join(dir, "bundle")
	args := []string{"unpack", "--image", paths["oci"] + ":one", bundle}
	if os.Geteuid() != 0 {
		args = append([]string{"unpack", "--rootless"}, args[1:]...)
	}
	if r := Umoci(t, args...); r.ExitCode != 0 {
		t.Fatalf("umoci unpack: %s", r.Stderr)
	}
	if target, err := os.Readlink(filepath.Join(bundle, "rootfs/bin/sh")); err != nil || target != "busybox" {
		t.Errorf("unpacked bin/sh is a link to %q, %v", target, err)
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := engines.Start("rkt"); err == nil || errors.Is(err, errMissing) {
		t.Errorf("start of an unknown engine: %v", err)
	}
	var set Set
	set.Stop()
	if _, err := set.Start("docker"); err == nil {
		t.Error("start after the end succeeded")
	}
}
