package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/varve-image/varve/internal/testtools"
)

// imageName is the reference of the image in the test's archives.
const imageName = "varve-enginetest:one"

// member is a file of a tar.
type member struct {
	name, link string
	mode       int64
	data       []byte
}

func tarOf(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Linkname: m.link, Mode: m.mode, Size: int64(len(m.data)), Typeflag: tar.TypeReg}
		switch {
		case m.link != "":
			h.Typeflag = tar.TypeSymlink
		case m.data == nil:
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// dockerArchive returns the smallest image archive with a shell in it.
func dockerArchive(t *testing.T) []byte {
	t.Helper()
	busybox, err := os.ReadFile(testtools.Need(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	layer := tarOf(t,
		member{name: "bin/", mode: 0o755},
		member{name: "bin/busybox", mode: 0o755, data: busybox},
		member{name: "bin/sh", mode: 0o777, link: "busybox"})
	layerDigest := fmt.Sprintf("%x", sha256.Sum256(layer))
	const created = "1970-01-01T00:00:01Z"
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      created,
		"config":       map[string]any{"Cmd": []string{"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layerDigest}},
		"history":      []any{map[string]any{"created": created}},
	})
	if err != nil {
		t.Fatal(err)
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]any{map[string]any{
		"Config": configName, "RepoTags": []string{imageName}, "Layers": []string{layerDigest + "/layer.tar"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return tarOf(t,
		member{name: layerDigest + "/layer.tar", mode: 0o644, data: layer},
		member{name: configName, mode: 0o644, data: config},
		member{name: "manifest.json", mode: 0o644, data: manifest})
}

// formats writes the image in each format to dir: a file for each.
func formats(t *testing.T, dir string) map[string]string {
	t.Helper()
	archive := dockerArchive(t)
	var gz, zst bytes.Buffer
	gw := gzip.NewWriter(&gz)
	zw, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{gw, zw} {
		if _, err := w.Write(archive); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	paths := map[string]string{}
	for format, data := range map[string][]byte{"tar": archive, "tar.gz": gz.Bytes(), "tar.zst": zst.Bytes()} {
		paths[format] = filepath.Join(dir, "image."+format)
		if err := os.WriteFile(paths[format], data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for format, dest := range map[string]string{"oci-archive": "image.oci.tar", "oci": "layout"} {
		paths[format] = filepath.Join(dir, dest)
		r := Skopeo(t, "copy", "--quiet", "docker-archive:"+paths["tar"], format+":"+paths[format]+":one")
		if r.ExitCode != 0 {
			t.Fatalf("skopeo copy to %s: %s", format, r.Stderr)
		}
	}
	return paths
}
