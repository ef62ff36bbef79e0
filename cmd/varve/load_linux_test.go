package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// TestLoad: an image gets into an engine without a file between, runs there,
// is not sent twice, and comes back with the id that it had.
func TestLoad(t *testing.T) {
	testtools.NeedRoot(t)
	paths := engineImage(t)
	for name, place := range map[string]struct{ variable, transport string }{
		"docker": {"DOCKER_HOST", "docker-daemon"}, "containerd": {"CONTAINERD_ADDRESS", "containerd"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := engines.Get(t, name)
			load := func(args ...string) outcome {
				cmd := varve(t, t.TempDir(), args...)
				cmd.Env = append(cmd.Env, place.variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
				o := run(t, cmd)
				if o.code != 0 {
					t.Fatalf("varve %q: exit code %d: %s", args, o.code, o.stderr)
				}
				return o
			}
			load("load", "--into", name, paths["tar.zst"])
			again := load("load", "--into", name, paths["tar"])
			mustFind(t, again.stderr, "already")
			full := "varve-e2e:one"
			if name == "containerd" { // which calls images by their full names
				full = "docker.io/library/" + full
			}
			got, err := engine.Run(t.Context(), full)
			if err != nil || got.ExitCode != 7 || !strings.Contains(got.Stdout, "hello  world") {
				t.Errorf("run: %v %+v", err, got)
			}
			here := run(t, varve(t, t.TempDir(), "inspect", paths["tar"]))
			there := load("inspect", place.transport+":varve-e2e:one")
			id := strings.SplitAfter(strings.SplitN(here.stdout, "id        ", 2)[1], "\n")[0]
			mustFind(t, there.stdout, id)
			if err := engine.Remove(t.Context(), full); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestExport: the file system that export writes is the one that a container
// of the image has: names, types, modes, owners, targets, contents.
func TestExport(t *testing.T) {
	testtools.NeedRoot(t)
	docker := engines.Get(t, "docker")
	paths := engineImage(t)
	dir := filepath.Dir(paths["tar"])
	put(t, filepath.Join(dir, "more/bin/hello"), "hello\n", 0o755)
	put(t, filepath.Join(dir, "more/etc/motd/x"), "a directory in the place of a file\n", 0o644)
	mustRun(t, dir, "build", "--name", "varve-export", "--tag", "one", "--from", paths["tar"], "--copy", "more", "--conflicts", "last", "-q", "-o", "child.tar")
	mustRun(t, dir, "export", "child.tar", "-o", "root.tar")
	image, err := docker.Load(t.Context(), filepath.Join(dir, "child.tar"))
	must(t, err)
	defer docker.Remove(t.Context(), image)
	container, err := docker.Command(t.Context(), "create", image).Output()
	must(t, err)
	id := strings.TrimSpace(string(container))
	defer docker.Command(t.Context(), "rm", id).Run()
	theirs, err := docker.Command(t.Context(), "export", id).Output()
	must(t, err)
	ours, err := os.ReadFile(filepath.Join(dir, "root.tar"))
	must(t, err)
	a, b := treeOf(t, ours), treeOf(t, theirs)
	for _, name := range []string{".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys"} {
		if _, ok := a[name]; !ok {
			delete(b, name) // Docker makes it
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if a[name] != b[name] {
			t.Errorf("%s is %q, in a container %q", name, a[name], b[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[name]; !ok {
			t.Errorf("%s is not in a container", name)
		}
	}
	// What Docker exports can be copied into an image, or be the base of one.
	put(t, filepath.Join(dir, "docker.tar"), string(theirs), 0o644)
	mustRun(t, dir, "build", "--name", "again", "--copy", "docker.tar", "-q", "-o", "again.tar")
	saved, err := docker.Command(t.Context(), "save", image).Output()
	must(t, err)
	put(t, filepath.Join(dir, "saved.tar"), string(saved), 0o644)
	mustRun(t, dir, "build", "--name", "on-saved", "--from", "saved.tar", "--copy", "more", "--conflicts", "last", "-q", "-o", "on-saved.tar")
	if len(b) < 10 {
		t.Errorf("a container has %d files", len(b))
	}
}

// treeOf describes each entry of a tar but the root, hard links as what they
// lead to.
func treeOf(t *testing.T, data []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, eachEntry(data, func(h *tar.Header, content []byte) {
		name := path.Clean("/" + h.Name)[1:]
		if h.Typeflag == tar.TypeLink {
			all[name] = all[path.Clean("/" + h.Linkname)[1:]]
			return
		}
		mode := h.Mode & 0o7777 // Docker adds the type
		if h.Typeflag == tar.TypeSymlink {
			mode = 0o777
		}
		if name != "" {
			all[name] = fmt.Sprintf("%c %04o %d:%d %s %x", h.Typeflag, mode, h.Uid, h.Gid, h.Linkname, sha256.Sum256(bytes.Clone(content)))
		}
	}))
	return all
}
