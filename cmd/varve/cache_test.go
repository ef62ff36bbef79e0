package main

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// TestCacheStorm: many builds at once on one base image, with one cache and one
// output, fetch each blob once; if somebody clears the cache all the time they
// still make the same image.
func TestCacheStorm(t *testing.T) {
	registry := &scriptRegistry{blobs: ociserver.New(ocimem.New(), nil)}
	server := httptest.NewServer(registry)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "big"), strings.Repeat("0123456789abcdef", 1<<16), 0o644)
	base := "docker://" + host + "/team/base:1"
	mustRun(t, dir, "build", "--name", "base", "--tag", "1", "--copy", "big", "-q", "-o", base, "--insecure", host)
	put(t, filepath.Join(dir, "child.yaml"), "name: child\ntag: \"1\"\nfromImage: "+base+"\n", 0o644)
	mustRun(t, dir, "lock", "child.yaml", "-q", "--insecure", host)
	build := func(name string) {
		if o := run(t, varve(t, dir, "build", "child.yaml", "-q", "-o", name, "--insecure", host)); o.code != 0 {
			t.Errorf("exit code %d: %s", o.code, o.stderr)
		}
	}
	shipped.get(t)
	registry.take()
	var builds sync.WaitGroup
	for range 16 {
		builds.Go(func() { build("child.tar") })
	}
	builds.Wait()
	fetched := map[string]int{}
	for _, r := range registry.take() {
		if strings.HasPrefix(r, "GET ") && strings.Contains(r, "/blobs/") {
			fetched[r]++
		}
	}
	if len(fetched) != 2 {
		t.Errorf("%d blobs were fetched, want a config and a layer", len(fetched))
	}
	for r, n := range fetched {
		if n != 1 {
			t.Errorf("%s: %d times", r, n)
		}
	}
	want := fingerprint(t, filepath.Join(dir, "child.tar"), false)
	done := make(chan struct{})
	var clearing sync.WaitGroup
	clearing.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if o := run(t, varve(t, dir, "cache", "prune", "--all")); o.code != 0 {
				t.Errorf("prune: exit code %d: %s", o.code, o.stderr)
			}
		}
	})
	for range 4 {
		builds.Go(func() { build("child.tar") })
	}
	builds.Wait()
	close(done)
	clearing.Wait()
	if got := fingerprint(t, filepath.Join(dir, "child.tar"), false); got != want {
		t.Errorf("with prune: %s, want %s", got, want)
	}
	if left, err := filepath.Glob(filepath.Join(cacheHome(t), "varve", "blobs", ".partial-*")); err != nil || left != nil {
		t.Errorf("left are %q, %v", left, err)
	}
}
