package ocilayout_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/testtools"
)

// readImageDir reads everything in a directory.
func readImageDir(t *testing.T, dir string) error {
	t.Helper()
	d, err := ocilayout.OpenImageDir(t.Context(), dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for i := range d.List() {
		img, err := d.Open(t.Context(), i)
		if err != nil {
			return err
		}
		for _, l := range img.Layers() {
			if _, err := l.Info(t.Context()); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestImageDirSkopeo: varve writes the same from a layout as skopeo, and each reads the other's.
func TestImageDirSkopeo(t *testing.T) {
	temp := t.TempDir()
	layout, theirs, ours := filepath.Join(temp, "layout"), filepath.Join(temp, "theirs"), filepath.Join(temp, "ours")
	if _, err := ocilayout.WriteDir(t.Context(), newImage("v1"), layout, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	run(t, "skopeo", "copy", "--quiet", "oci:"+layout+":v1", "dir:"+theirs)
	l, err := ocilayout.Open(t.Context(), layout, "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	img, err := l.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ocilayout.WriteImageDir(t.Context(), []image.Named{{Image: img}}, ours, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("diff", "-r", ours, theirs).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	run(t, "skopeo", "copy", "--quiet", "dir:"+ours, "oci:"+temp+"/back:x")
	if err := readImageDir(t, theirs); err != nil {
		t.Error(err)
	}
	// Docker's manifest is kept.
	docker := filepath.Join(temp, "docker")
	run(t, "skopeo", "copy", "--quiet", "--format", "v2s2", "dir:"+ours, "dir:"+docker)
	d, err := ocilayout.OpenImageDir(t.Context(), docker)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	stored, err := d.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(temp, "kept")
	if _, err := ocilayout.WriteImageDir(t.Context(), []image.Named{{Image: stored}}, kept, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("diff", "-r", docker, kept).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestImageDirRefused: nothing is overwritten, and nothing with wrong digests is read.
func TestImageDirRefused(t *testing.T) {
	testtools.Need(t, "diff")
	write := func(dir string, opts ocilayout.Options, images ...image.Named) error {
		_, err := ocilayout.WriteImageDir(t.Context(), images, dir, opts)
		return err
	}
	good := filepath.Join(t.TempDir(), "good")
	if err := write(good, ocilayout.Options{}, newImage("v1")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(good); err != nil || st.Mode().Perm()&0o700 != 0o700 || st.Mode()&os.ModeSticky != 0 {
		t.Errorf("its mode is %v, %v", st.Mode(), err)
	}
	before := snapshot(t, good)
	for name, err := range map[string]error{
		"a directory that is full": write(good, ocilayout.Options{}, newImage("v2")),
		"a name":                   write(good+"2", ocilayout.Options{RefName: "x"}, newImage("v1")),
		"two images":               write(good+"2", ocilayout.Options{}, newImage("v1"), newImage("v2")),
		"no image":                 write(good+"2", ocilayout.Options{}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if snapshot(t, good) != before {
		t.Error("the directory was changed")
	}
	if left, err := filepath.Glob(filepath.Dir(good) + "/*"); err != nil || len(left) != 1 {
		t.Errorf("left: %q, %v", left, err)
	}
	d, err := ocilayout.OpenImageDir(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	img, err := d.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	blob := img.StoredLayers()[0].Stored().Digest.Encoded()
	for _, c := range []struct {
		name, want string
		change     func(dir string) error
	}{
		{"no manifest", "manifest.json", func(dir string) error { return os.Remove(dir + "/manifest.json") }},
		{"no object", "expected an object", func(dir string) error { return os.WriteFile(dir+"/manifest.json", []byte("[]"), 0o644) }},
		{"schema 1", "schema 1", func(dir string) error {
			return os.WriteFile(dir+"/manifest.json", []byte(`{"schemaVersion":1,"fsLayers":[]}`), 0o644)
		}},
		{"layer is a FIFO", "not a regular file", func(dir string) error {
			return errors.Join(os.Remove(dir+"/"+blob), syscall.Mkfifo(dir+"/"+blob, 0o644))
		}},
		{"layer is a link", "not a regular file", func(dir string) error {
			return errors.Join(os.Rename(dir+"/"+blob, dir+"/x"), os.Symlink("x", dir+"/"+blob))
		}},
		{"layer is damaged", "sha256:" + blob, func(dir string) error {
			data := mustRead(t, dir+"/"+blob)
			data[len(data)/2] ^= 1
			return os.WriteFile(dir+"/"+blob, data, 0o644)
		}},
		{"layer is cut", "are expected", func(dir string) error { return os.Truncate(dir+"/"+blob, 10) }},
		{"index without its manifests", "no such file", func(dir string) error {
			return os.WriteFile(dir+"/manifest.json", []byte(`{"schemaVersion":2,"mediaType":"`+v1.MediaTypeImageIndex+`","manifests":[{"mediaType":"`+v1.MediaTypeImageManifest+`","digest":"sha256:`+blob+`","size":1}]}`), 0o644)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			if err := readImageDir(t, dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		})
	}
}
