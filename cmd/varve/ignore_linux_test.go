package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// TestIgnoreFileAsDocker: with an ignore file the same files and directories are copied as COPY of
// a Dockerfile copies. Exceptions with wildcards before the last slash are left out: Docker 20.10 does
// not look for them below what is left out, and later ones do.
func TestIgnoreFileAsDocker(t *testing.T) {
	testtools.NeedRoot(t)
	docker := engines.Get(t, "docker")
	for i, ignore := range []string{
		"",
		"\ufeff# all\n*\n!a\n a/b/*  \n!a/b/c.txt\t\n",
		"**/*.o\n/node_modules\n\n!node_modules/keep\n",
		"?.o\n[A-C]*\na/./../a/c.o\n",
		"*\n!.dockerignore\n!a/b/c.txt\n",
		"Dockerfile\n.dockerignore\na/\n!a/b\n",
		"a/b\n!a\n",
		".*\n!.h*\n\\!odd\n",
	} {
		dir := openDir(t, "")
		for _, name := range []string{"a/b/c.o", "a/b/c.txt", "a/c.o", "c.o", "node_modules/x/i.js", "node_modules/keep", ".hidden/f", "!odd", "B"} {
			put(t, filepath.Join(dir, "ctx", name), name, 0o644)
		}
		put(t, filepath.Join(dir, "ctx/Dockerfile"), "FROM scratch\nCOPY . /x/\nCMD [\"x\"]\n", 0o644)
		put(t, filepath.Join(dir, "ctx/.dockerignore"), ignore, 0o644)
		putSpec(t, filepath.Join(dir, "image.json"), map[string]any{
			"name":       "ignored",
			"copyToRoot": []any{map[string]any{"source": "ctx", "target": "/x", "ignoreFile": "ctx/.dockerignore"}},
		})
		mustRun(t, dir, "build", "image.json", "-q", "-o", "a.tar")
		mustRun(t, dir, "export", "a.tar", "-o", "root.tar")
		ours, err := os.ReadFile(filepath.Join(dir, "root.tar"))
		must(t, err)
		build := docker.Command(t.Context(), "build", "-q", filepath.Join(dir, "ctx"))
		build.Env = append(build.Env, "DOCKER_BUILDKIT=0")
		id, err := enginetest.Output(build)
		must(t, err)
		image := strings.TrimSpace(id.Stdout)
		theirs := containerTar(t, docker, image)
		must(t, docker.Remove(t.Context(), image))
		got, want := namesBelow(t, ours, "x/"), namesBelow(t, theirs, "x/")
		if !slices.Equal(got, want) {
			t.Errorf("%d: %q leaves %q, and in Docker %q", i, ignore, got, want)
		}
	}
}

// namesBelow returns the sorted names in a tar that begin with prefix, without slashes at their ends.
func namesBelow(t *testing.T, data []byte, prefix string) []string {
	t.Helper()
	var names []string
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names
		}
		must(t, err)
		if name := strings.TrimPrefix(strings.TrimSuffix(h.Name, "/"), "./"); strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
}
