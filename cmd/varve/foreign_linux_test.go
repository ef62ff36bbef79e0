package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/layertest"
	"github.com/varve-image/varve/internal/testtools"
)

// These are images in the form in which other tools leave them: what Docker runs,
// every command accepts.

// everyWay returns the ways in which an image is read, each with its output.
func everyWay(ref string) [][]string {
	return [][]string{
		{"export", ref, "-o", "out/a.tar"}, {"export", ref, "-o", "out/tree/"},
		{"build", "--name", "x", "--from", ref, "--copy", "file", "-o", "out/b.tar"},
		{"build", "--name", "x", "--from", ref, "--copy", "file", "-o", "oci:out/b:x"},
		{"inspect", ref}, {"inspect", "--raw", ref}, {"merge", ref, "-o", "out/c.tar"}, {"index", ref, "-o", "oci:out/d:x"},
		{"copy", ref, "oci:out/e:x"}, {"copy", ref, "oci-archive:out/f:x"}, {"copy", ref, "docker-archive:out/g.tar:x:1"}, {"copy", ref, "dir:out/h"},
		{"stream", "--name", "x", "--from", ref, "--copy", "file"},
	}
}

// tryEveryWay runs every way, and exports again what was written.
func tryEveryWay(t *testing.T, dir string, ways [][]string) {
	t.Helper()
	put(t, filepath.Join(dir, "file"), "added", 0o644)
	for _, args := range ways {
		must(t, os.RemoveAll(filepath.Join(dir, "out")))
		makeDirs(t, filepath.Join(dir, "out"))
		if o := run(t, varve(t, dir, args...)); o.code != 0 {
			t.Errorf("varve %q: exit code %d: %s", args, o.code, o.stderr)
			continue
		}
		for _, written := range []string{"out/b.tar", "out/c.tar", "out/g.tar", "oci:out/b:x", "oci:out/d:x", "oci:out/e:x", "oci-archive:out/f:x", "dir:out/h"} {
			if last := args[len(args)-1]; last == written || strings.HasPrefix(last, "docker-archive:"+written) {
				mustRun(t, dir, "export", written, "-o", "out/again.tar")
			}
		}
	}
}

// smallBase returns a lower layer; with a shell it can run scripts.
func smallBase(t testing.TB, withShell bool) []byte {
	t.Helper()
	entries := []layertest.Entry{layertest.Dir("a", 0o755, 0), layertest.File("a/a", ""), layertest.Dir("b", 0o755, 0), layertest.File("f", "file")}
	if withShell {
		entries = append(entries, shell(t)...)
	}
	data, err := layertest.Tar(entries...)
	must(t, err)
	return data
}

func shell(t testing.TB) []layertest.Entry {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		testtools.Need(t, "busybox")
		t.Fatal(err)
	}
	shell := layertest.File("bin/busybox", string(program))
	shell.Mode = 0o755
	return []layertest.Entry{layertest.Dir("bin", 0o755, 0), shell, layertest.Link("bin/sh", "busybox")}
}

func packed(t testing.TB, data []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testtools.Need(t, program), args...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	must(t, err)
	return out
}

// TestForeignLayers: layers as they are found in registries.
func TestForeignLayers(t *testing.T) {
	tarOf := func(entries ...layertest.Entry) []byte {
		data, err := layertest.Tar(entries...)
		must(t, err)
		return data
	}
	at := func(seconds int64) layertest.Entry {
		return layertest.Entry{Header: tar.Header{Name: "t", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(seconds, 0), Format: tar.FormatPAX}}
	}
	whole := tarOf(layertest.File("n", strings.Repeat("n", 512)))
	plain := func(data []byte) layertest.Stored { return layertest.Stored{Tar: data, Blob: data} }
	gzipped := packed(t, whole, "gzip", "-c")
	for name, layer := range map[string]layertest.Stored{
		"no end":                    plain(whole[:1024]),
		"half an end":               plain(whole[:1536]),
		"no bytes":                  plain(nil),
		"gzip of nothing":           {Blob: packed(t, nil, "gzip", "-c"), Kind: "+gzip"},
		"bytes behind the end":      plain(append(bytes.Clone(whole), "more"...)),
		"zeros behind gzip":         {Tar: whole, Blob: append(bytes.Clone(gzipped), make([]byte, 5000)...), Kind: "+gzip"},
		"bzip2":                     {Tar: whole, Blob: packed(t, whole, "bzip2", "-c"), Kind: "+bzip2"},
		"xz":                        {Tar: whole, Blob: packed(t, whole, "xz", "-c"), Kind: "+xz"},
		"before 1970":               plain(tarOf(at(-5))),
		"after 9999":                plain(tarOf(at(253402300800))),
		"whiteout, then a symlink":  plain(tarOf(layertest.Whiteout("a/.wh.a"), layertest.Link("a", "b"))),
		"whiteout below a file":     plain(tarOf(layertest.Whiteout("f/.wh.x"))),
		"opaque below a file, deep": plain(tarOf(layertest.Whiteout("f/d/.wh..wh..opq"))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t, "")
			ways := everyWay("oci:image:x")
			withShell := strings.Contains(" no end, before 1970, whiteout, then a symlink", name)
			if withShell {
				ways = append(ways, []string{"run-step", "oci:image:x", "--script", "echo text > /new"})
			}
			base := smallBase(t, withShell)
			b := layertest.NewBuilder(filepath.Join(dir, "image"))
			must(t, b.Close(layertest.Named(b.Image(layertest.Object{}, layertest.Stored{Tar: base, Blob: base}, layer), "x")))
			tryEveryWay(t, dir, ways)
		})
	}
}

// TestForeignDigest: what is read leniently must still match its stated digests.
func TestForeignDigest(t *testing.T) {
	dir := openDir(t, "")
	whole, err := layertest.Tar(layertest.File("n", strings.Repeat("n", 512)))
	must(t, err)
	b := layertest.NewBuilder(filepath.Join(dir, "image"))
	must(t, b.Close(layertest.Named(b.Image(layertest.Object{}, layertest.Stored{Tar: whole, Blob: whole[:1024]}), "x")))
	for _, args := range everyWay("oci:image:x") {
		if args[1] == "--raw" {
			continue
		}
		if o := run(t, varve(t, dir, args...)); o.code == 0 {
			t.Errorf("varve %q takes a layer that was cut", args)
		}
	}
}

// TestForeignSHA512: blobs keep their digests.
func TestForeignSHA512(t *testing.T) {
	dir := openDir(t, "")
	base := smallBase(t, false)
	b := layertest.NewBuilder(filepath.Join(dir, "image"))
	b.SHA512 = true
	image := b.Image(layertest.Object{}, layertest.Stored{Tar: base, Blob: packed(t, base, "gzip", "-c"), Kind: "+gzip"})
	must(t, b.Close(layertest.Named(image, "x")))
	tryEveryWay(t, dir, everyWay("oci:image:x"))
	mustRun(t, dir, "copy", "oci:image:x", "oci:copy:x")
	mustRun(t, dir, "copy", "oci:image:x", "oci-archive:copy.tar:x")
	mustRun(t, dir, "copy", "oci-archive:copy.tar:x", "oci:again:x")
	for _, place := range []string{"copy", "again"} {
		if out, err := exec.Command("diff", "-r", filepath.Join(dir, "image/blobs/sha512"), filepath.Join(dir, place, "blobs/sha512")).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", place, out)
		}
	}
	if list := string(packed(t, nil, "tar", "-tf", filepath.Join(dir, "copy.tar"))); !strings.Contains(list, "blobs/sha512/\n") {
		t.Errorf("the archive has no directory of its blobs:\n%s", list)
	}
}

// TestForeignArtifacts: what is beside images is left alone, and named correctly.
func TestForeignArtifacts(t *testing.T) {
	base := smallBase(t, false)
	stored := layertest.Stored{Tar: base, Blob: base}
	type object = layertest.Object
	empty := func(b *layertest.Builder) object { return b.Blob("application/vnd.oci.empty.v1+json", []byte("{}")) }
	for _, c := range []struct {
		name, what string
		make       func(b *layertest.Builder, image object) object
	}{
		{"referrer", "application/spdx+json", func(b *layertest.Builder, image object) object {
			subject := object{"mediaType": image["mediaType"], "digest": image["digest"], "size": image["size"]}
			d := b.Manifest(empty(b), []any{b.Blob("application/spdx+json", []byte("{}"))}, object{"artifactType": "application/spdx+json", "subject": subject})
			d["artifactType"] = "application/spdx+json"
			return d
		}},
		{"referrer without a type in the index", "application/spdx+json", func(b *layertest.Builder, _ object) object {
			return b.Manifest(empty(b), []any{empty(b)}, object{"artifactType": "application/spdx+json"})
		}},
		{"config of another type", "application/vnd.cncf.helm.config.v1+json", func(b *layertest.Builder, _ object) object {
			return b.Manifest(b.Blob("application/vnd.cncf.helm.config.v1+json", []byte("{}")), []any{b.Blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", nil)}, nil)
		}},
		{"empty config", "application/vnd.oci.empty.v1+json", func(b *layertest.Builder, _ object) object {
			return b.Manifest(empty(b), []any{b.Blob("text/plain", []byte("x"))}, nil)
		}},
		{"signature as cosign saves it", "application/vnd.dev.cosign.simplesigning.v1+json", func(b *layertest.Builder, _ object) object {
			config := b.JSON("application/vnd.oci.image.config.v1+json", object{"architecture": "", "os": "", "config": object{}, "rootfs": object{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("{}")))}}})
			return b.Manifest(config, []any{b.Blob("application/vnd.dev.cosign.simplesigning.v1+json", []byte("{}"))}, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t, "")
			b := layertest.NewBuilder(filepath.Join(dir, "image"))
			image := b.Image(object{"Cmd": []string{"/bin/sh"}}, stored)
			artifact := c.make(b, image)
			must(t, b.Close(layertest.Named(artifact, "other"), layertest.Named(image, "x"), artifact))
			for _, ref := range []string{"oci:image", "oci:image:x"} {
				tryEveryWay(t, dir, everyWay(ref))
			}
			for _, name := range []string{":other", "@" + artifact["digest"].(string)} {
				for _, args := range [][]string{{"export", "oci:image" + name, "-o", "n.tar"}, {"inspect", "oci:image" + name}, {"copy", "oci:image" + name, "oci:n:n"}, {"build", "--name", "y", "--from", "oci:image" + name, "-o", "n.tar"}} {
					o := run(t, varve(t, dir, args...))
					if o.code == 0 {
						t.Errorf("varve %q succeeds", args)
					}
					mustFind(t, o.stderr, "not an image", c.what)
				}
			}
		})
	}
}

// TestForeignConfig: a base's config is read as Docker reads it.
func TestForeignConfig(t *testing.T) {
	dir := openDir(t, "")
	base := smallBase(t, false)
	type object = layertest.Object
	b := layertest.NewBuilder(filepath.Join(dir, "image"))
	stored := layertest.Stored{Tar: base, Blob: base}
	lower := b.Image(object{"env": []string{"PATH=/bin", "A=1"}, "cmd": []string{"/bin/sh"}, "labels": object{"a": "1"}, "WORKINGDIR": "/a", "x": 1}, stored)
	text := b.Image(object{"Cmd": "/bin/sh -c x", "entrypoint": "/bin/sh", "Shell": "/bin/sh"}, stored)
	must(t, b.Close(layertest.Named(lower, "lower"), layertest.Named(text, "text")))
	runOf := func(ref string) object {
		var all []struct{ Config struct{ Config object } }
		o := mustRun(t, dir, "inspect", "--json", ref)
		must(t, json.Unmarshal([]byte(o.stdout), &all))
		return all[0].Config.Config
	}
	same := func(ref string, want object) {
		t.Helper()
		got, _ := json.Marshal(runOf(ref))
		expected, _ := json.Marshal(want)
		if string(got) != string(expected) {
			t.Errorf("%s: %s, want %s", ref, got, expected)
		}
	}
	mustRun(t, dir, "build", "--name", "x", "--from", "oci:image:lower", "--env", "A=2", "--label", "b=2", "-o", "lower.tar")
	same("lower.tar", object{"Env": []string{"PATH=/bin", "A=2"}, "Cmd": []string{"/bin/sh"}, "Labels": object{"a": "1", "b": "2"}, "WorkingDir": "/a", "x": 1})
	list := object{"Cmd": []string{"/bin/sh -c x"}, "Entrypoint": []string{"/bin/sh"}, "Shell": []string{"/bin/sh"}}
	mustRun(t, dir, "build", "--name", "x", "--from", "oci:image:text", "-o", "text.tar")
	same("text.tar", list)
	// An archive keeps the config as it is; an OCI image that is made from it has lists.
	// What is an OCI image already keeps its digest.
	mustRun(t, dir, "copy", "oci:image:text", "docker-archive:kept.tar:x:1")
	stay := object{"Cmd": "/bin/sh -c x", "entrypoint": "/bin/sh", "Shell": "/bin/sh"}
	same("kept.tar", stay)
	for _, dest := range []string{"oci:made:x", "oci-archive:made.tar:x", "dir:made.dir"} {
		mustRun(t, dir, "copy", "kept.tar", dest)
		same(dest, object{"Cmd": list["Cmd"], "entrypoint": list["Entrypoint"], "Shell": list["Shell"]})
	}
	mustRun(t, dir, "copy", "oci:image:text", "oci:passed:x")
	same("oci:passed:x", stay)
}
