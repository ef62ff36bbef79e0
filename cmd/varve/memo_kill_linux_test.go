package main

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"

	"github.com/varve-image/varve/internal/testtools"
)

// memoBuilds are builds of all kinds on one cache: of files and explicit layers, on a base image,
// and with a script; to archives, a layout and a registry, with several compressors.
type memoBuilds struct {
	dir, cache, temp, host string
	builds                 []memoBuild
}

type memoBuild struct {
	name, spec string
	// dest has a place for what it is called; what is in a registry has no file.
	dest, file string
	want       string
}

func newMemoBuilds(t *testing.T) *memoBuilds {
	t.Helper()
	server := httptest.NewServer(&scriptRegistry{blobs: ociserver.New(ocimem.New(), nil)})
	t.Cleanup(server.Close)
	m := &memoBuilds{dir: newMemoFiles(t), host: strings.TrimPrefix(server.URL, "http://")}
	m.cache, m.temp = filepath.Join(m.dir, "cache"), filepath.Join(m.dir, "tmp")
	makeDirs(t, m.temp)
	busybox, err := os.ReadFile(testtools.Need(t, "busybox"))
	must(t, err)
	put(t, filepath.Join(m.dir, "base/bin/busybox"), string(busybox), 0o755)
	must(t, os.Symlink("busybox", filepath.Join(m.dir, "base/bin/sh")))
	base := "docker://" + m.host + "/team/base:1"
	mustRun(t, m.dir, "build", "--name", "base", "--tag", "1", "--copy", "base", "-q", "--no-cache", "-o", base, "--insecure", m.host)
	put(t, filepath.Join(m.dir, "child.yaml"), "name: child\ntag: \"1\"\nfromImage: "+base+"\ncopyToRoot: [files]\n", 0o644)
	put(t, filepath.Join(m.dir, "script.yaml"), "name: script\ntag: \"1\"\ncopyToRoot: [base, files]\nkeepContentsDirlinks: true\nrunAsRoot: for i in 1 2 3; do echo made >/made$i; done\n", 0o644)
	mustRun(t, m.dir, "lock", "child.yaml", "-q", "--insecure", m.host)
	settle()
	for _, b := range []memoBuild{
		{"layout", "image.yaml", "oci:%s", "%s", ""},
		{"tar.gz", "image.yaml", "%s.tar.gz", "%s.tar.gz", ""},
		{"base", "child.yaml", "%s.tar.zst", "%s.tar.zst", ""},
		{"registry", "child.yaml", "docker://" + m.host + "/team/%s:1", "", ""},
		{"script", "script.yaml", "oci-archive:%s.oci:name", "%s.oci", ""},
	} {
		b.want = m.build(t, &b, "want", "--no-cache")
		m.builds = append(m.builds, b)
	}
	return m
}

// command returns the command that makes the image called out.
func (m *memoBuilds) command(t *testing.T, b *memoBuild, out string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := varve(t, m.dir, append([]string{"build", b.spec, "-q", "--insecure", m.host, "-o", fmt.Sprintf(b.dest, out)}, args...)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+m.temp)
	return cmd
}

// image returns the fingerprint of the image called out, and removes it; it is empty if there is
// none.
func (m *memoBuilds) image(t *testing.T, b *memoBuild, out string) string {
	t.Helper()
	if b.file == "" {
		o := run(t, varve(t, m.dir, "inspect", "--raw", fmt.Sprintf(b.dest, out), "--insecure", m.host))
		if o.code != 0 && !strings.Contains(o.stderr, "404") && !strings.Contains(o.stderr, "not found") {
			t.Errorf("%s: inspect: exit code %d: %s", b.name, o.code, o.stderr)
		}
		return o.stdout
	}
	name := filepath.Join(m.dir, fmt.Sprintf(b.file, out))
	whole := name
	if strings.HasPrefix(b.dest, "oci:") {
		whole = filepath.Join(name, "index.json") // this file makes it a layout
	}
	defer os.RemoveAll(name)
	if _, err := os.Stat(whole); err != nil {
		return ""
	}
	return fingerprint(t, name, false)
}

// build makes an image and returns its fingerprint.
func (m *memoBuilds) build(t *testing.T, b *memoBuild, out string, args ...string) string {
	t.Helper()
	if o := run(t, m.command(t, b, out, args...)); o.code != 0 {
		t.Fatalf("%s: build: exit code %d: %s", b.name, o.code, o.stderr)
	}
	return m.image(t, b, out)
}

// check: the next builds make what they should, and leave nothing that killed ones have begun.
func (m *memoBuilds) check(t *testing.T, what string) {
	t.Helper()
	for i := range m.builds {
		b := &m.builds[i]
		if got := m.build(t, b, b.name, "--cache", m.cache); got != b.want {
			t.Errorf("%s: %s: a build makes\n%s\nwant\n%s", what, b.name, got, b.want)
		}
	}
	if o := run(t, varve(t, m.dir, "cache", "verify", "-q", "--cache", m.cache)); o.code != 0 {
		t.Errorf("%s: verify: exit code %d: %s", what, o.code, o.stderr)
	}
	if left := slices.DeleteFunc(names(m.dir), func(name string) bool { return !strings.HasPrefix(name, ".") }); len(left) > 0 {
		t.Errorf("%s: left beside the images: %q", what, left)
	}
}

// leftovers lists what killed processes have left in the cache.
func (m *memoBuilds) leftovers(t *testing.T) (left []string) {
	t.Helper()
	for _, pattern := range []string{"memo/.n*", "memo/*/.*", "blobs/.partial*", "blobs/.*varve-*", "blobs/blobs/sha256/.*"} {
		found, err := filepath.Glob(filepath.Join(m.cache, pattern))
		must(t, err)
		left = append(left, found...)
	}
	return left
}

// TestMemoKill: kill -9 at any moment of several builds on one cache costs nothing but work.
func TestMemoKill(t *testing.T) {
	m := newMemoBuilds(t)
	rounds := 3
	if sweep {
		rounds = 125
	}
	took := map[string]time.Duration{}
	for i := range m.builds {
		b := &m.builds[i]
		began := time.Now()
		m.build(t, b, "timed", "--cache", m.cache)
		took[b.name] = time.Since(began)
	}
	reclaimed, finished, absent := 0, 0, 0
	for round := range rounds {
		if round%2 == 0 {
			mustRun(t, m.dir, "cache", "prune", "--all", "--cache", m.cache)
		}
		what := fmt.Sprintf("round %d", round)
		var wait sync.WaitGroup
		for i := range 4 {
			b := &m.builds[(round+i)%len(m.builds)]
			wait.Go(func() {
				signalled(t, m.command(t, b, fmt.Sprintf("killed-%d-%s", round, b.name), "--cache", m.cache), time.Duration(rand.Int64N(int64(2*took[b.name]))), syscall.SIGKILL)
			})
		}
		wait.Wait()
		for i := range 4 {
			b := &m.builds[(round+i)%len(m.builds)]
			got := m.image(t, b, fmt.Sprintf("killed-%d-%s", round, b.name))
			switch got {
			case "":
				absent++
			case b.want:
				finished++
			default:
				t.Errorf("%s: %s: a part of the image is there:\n%s", what, b.name, got)
			}
		}
		removeHidden(t, m.dir) // of outputs that nobody makes again
		reclaimed += len(m.leftovers(t))
		m.check(t, what)
		if round%10 == 9 {
			mustRun(t, m.dir, "cache", "prune", "--cache", m.cache)
			if left := m.leftovers(t); len(left) > 0 {
				t.Errorf("%s: left are %q", what, left)
			}
			m.build(t, &m.builds[len(m.builds)-1], "fresh", "--no-cache") // a script that runs makes room for itself
			if left := names(m.temp); len(left) > 0 {
				t.Errorf("%s: left in TMPDIR: %q", what, left)
			}
		}
	}
	t.Logf("%d builds killed: %d images were finished, %d not begun; the cache had %d unfinished files", 4*rounds, finished, absent, reclaimed)
}

// removeHidden removes the hidden files in a directory.
func removeHidden(t *testing.T, dir string) {
	t.Helper()
	for _, name := range names(dir) {
		if strings.HasPrefix(name, ".") {
			must(t, os.RemoveAll(filepath.Join(dir, name)))
		}
	}
}

// TestMemoKillAtCommit: what a build leaves that is killed when it gives a file of the cache its name,
// the next build removes.
func TestMemoKillAtCommit(t *testing.T) {
	strace := testtools.Need(t, "strace")
	c := newMemoCase(t)
	k := killing{dir: c.dir}
	makeDirs(t, filepath.Join(c.dir, "tmp"))
	for _, call := range []string{"linkat", "renameat"} {
		cache := filepath.Join(c.dir, "cache-"+call)
		begun := 0
		for n := 1; ; n++ {
			_, happened := k.injected(t, strace, []string{"build", "image.yaml", "-q", "-o", "oci:out-injected", "--cache", cache}, call, "signal=SIGKILL", n)
			must(t, os.RemoveAll(filepath.Join(c.dir, "out-injected")))
			left, err := filepath.Glob(filepath.Join(cache, "memo/*/.*"))
			must(t, err)
			begun += len(left)
			if got := c.image(t, "after", "--cache", cache); got != c.want {
				t.Errorf("killed at %s %d: the next build makes\n%s\nwant\n%s", call, n, got, c.want)
			}
			if left, err := filepath.Glob(filepath.Join(cache, "memo/*/.*")); err != nil || len(left) > 0 {
				t.Errorf("killed at %s %d: left are %q, %v", call, n, left, err)
			}
			must(t, os.RemoveAll(cache))
			if !happened {
				break
			}
		}
		if call == "renameat" && begun == 0 {
			t.Error("there was nothing to remove")
		}
	}
}
