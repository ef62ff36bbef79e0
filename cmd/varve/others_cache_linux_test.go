package main

import (
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// cacheCase is a registry with an image, a spec based on it with its varve.lock, and a user
// with a home.
type cacheCase struct {
	dir, home, host string
	uid             uint32
	registry        *scriptRegistry
}

func newCacheCase(t *testing.T, uid uint32) *cacheCase {
	t.Helper()
	c := &cacheCase{dir: openDir(t, ""), home: openDir(t, ""), uid: uid, registry: &scriptRegistry{blobs: ociserver.New(ocimem.New(), nil)}}
	server := httptest.NewServer(c.registry)
	t.Cleanup(server.Close)
	c.host = strings.TrimPrefix(server.URL, "http://")
	own(t, int(uid), c.home)
	base := "docker://" + c.host + "/team/base:1"
	put(t, filepath.Join(c.dir, "motd"), "hello\n", 0o644)
	mustRun(t, c.dir, "build", "--name", "base", "--tag", "1", "--copy", "motd", "-q", "-o", base, "--insecure", c.host)
	put(t, filepath.Join(c.dir, "child.yaml"), "name: child\ntag: \"1\"\nfromImage: "+base+"\n", 0o644)
	mustRun(t, c.dir, "lock", "child.yaml", "-q", "--insecure", c.host)
	must(t, os.Chmod(filepath.Join(c.dir, "varve.lock"), 0o644), os.Chmod(c.dir, 0o777))
	return c
}

// cache returns the user's cache.
func (c *cacheCase) cache() string { return filepath.Join(c.home, ".cache/varve") }

// layer returns the layer's blob in a cache, its file and its size.
func (c *cacheCase) layer(t *testing.T, cache string) (name string, size int64) {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join(c.dir, "varve.lock"))
	must(t, err)
	m := regexp.MustCompile(`(?s)"layers".*?sha256:([0-9a-f]{64})".*?"size": (\d+)`).FindSubmatch(lock)
	if m == nil {
		t.Fatalf("no layer in %s", lock)
	}
	fmt.Sscan(string(m[2]), &size)
	return filepath.Join(cache, "blobs/blobs/sha256", string(m[1])), size
}

// run runs varve as a user, for a limited time.
func (c *cacheCase) run(t *testing.T, uid uint32, args ...string) outcome {
	t.Helper()
	cmd := varve(t, c.dir, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.home}
	timer := time.AfterFunc(deadline, func() { cmd.Process.Kill() })
	defer timer.Stop()
	return run(t, as(cmd, uid))
}

// build builds the child as the case's user.
func (c *cacheCase) build(t *testing.T, args ...string) outcome {
	t.Helper()
	return c.run(t, c.uid, append([]string{"build", "child.yaml", "-q", "--insecure", c.host, "-o", filepath.Join(c.home, "out.tar")}, args...)...)
}

func (c *cacheCase) mustBuild(t *testing.T, args ...string) {
	t.Helper()
	if o := c.build(t, args...); o.code != 0 {
		t.Fatalf("build %q: exit code %d: %s", args, o.code, o.stderr)
	}
}

// want runs varve as the case's user; it has to end with the exit code.
func (c *cacheCase) want(t *testing.T, code int, words string, args ...string) {
	t.Helper()
	o := c.run(t, c.uid, args...)
	if o.code != code {
		t.Errorf("varve %q: exit code %d, want %d: %s", args, o.code, code, o.stderr)
	}
	mustFind(t, o.stderr, words)
}

// TestCacheIsPrivate: a new cache is its user's alone. If others may read a cache, none
// of them stops a build, prune or verify with locks.
func TestCacheIsPrivate(t *testing.T) {
	needRoot(t)
	c := newCacheCase(t, nobody)
	c.mustBuild(t)
	info, err := os.Stat(c.cache())
	must(t, err)
	if info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("a new cache has mode %v", info.Mode())
	}
	must(t, os.Chmod(filepath.Join(c.home, ".cache"), 0o755), os.Chmod(c.cache(), 0o755))
	lockAll(t, c.cache())
	for _, args := range [][]string{{"--locked"}, {}} {
		c.mustBuild(t, args...)
	}
	c.want(t, 0, "3 blobs of 1 image", "cache", "verify")
	c.want(t, 0, "removed 1 image, 3 blobs", "cache", "prune", "--all")
	c.mustBuild(t)
}

// TestCacheWait: a process that waits for another of the same user says so.
func TestCacheWait(t *testing.T) {
	needRoot(t)
	c := newCacheCase(t, nobody)
	c.mustBuild(t)
	for _, args := range [][]string{{"build", "child.yaml", "--locked", "-q", "-o", filepath.Join(c.home, "out.tar")}, {"cache", "prune", "--all"}} {
		f := lockFile(t, filepath.Join(c.cache(), "blobs/.users.lock"))
		time.AfterFunc(1500*time.Millisecond, func() { f.Close() })
		what := map[string]string{"build": "another process clears the cache", "cache": "other processes use the cache"}[args[0]]
		c.want(t, 0, fmt.Sprintf("varve: warning: waiting: %s %q", what, c.cache()), args...)
	}
}

// TestCacheSharing: a cache that others may only read serves them.
func TestCacheSharing(t *testing.T) {
	needRoot(t)
	for _, keeper := range []uint32{0, nobody} {
		c := newCacheCase(t, keeper)
		shared := filepath.Join(c.home, "shared")
		c.mustBuild(t, "--cache", shared)
		must(t, os.Chmod(shared, 0o755))
		before := fingerprint(t, shared, true)
		reader := &cacheCase{dir: c.dir, home: openDir(t, ""), host: c.host, uid: mallory}
		own(t, mallory, reader.home)
		reader.mustBuild(t, "--locked", "--cache", shared)
		reader.mustBuild(t, "--cache", shared)
		reader.want(t, 0, "1 image, 3 blobs, ", "cache", "ls", "--cache", shared)
		reader.want(t, 0, "3 blobs of 1 image", "cache", "verify", "--cache", shared)
		reader.want(t, 1, shared, "cache", "prune", "--all", "--cache", shared)
		if got := fingerprint(t, shared, true); got != before {
			t.Errorf("it is:\n%s\nit was:\n%s", got, before)
		}
		blob, _ := c.layer(t, shared)
		must(t, os.Remove(blob))
		o := reader.build(t, "--cache", shared)
		if o.code != 1 {
			t.Errorf("exit code %d", o.code)
		}
		mustFind(t, o.stderr, shared, "--no-cache")
		reader.mustBuild(t, "--no-cache")
	}
}

// TestCacheOfOthers: root writes nothing to another user's cache, and uses no blob from
// it with the wrong content.
func TestCacheOfOthers(t *testing.T) {
	needRoot(t)
	c := newCacheCase(t, nobody)
	c.mustBuild(t)
	root := &cacheCase{dir: c.dir, home: openDir(t, ""), host: c.host}
	before := fingerprint(t, c.cache(), true)
	root.mustBuild(t, "--locked", "--cache", c.cache())
	root.want(t, 1, "belongs to another user, 65534", "cache", "prune", "--all", "--cache", c.cache())
	if got := fingerprint(t, c.cache(), true); got != before {
		t.Errorf("it is:\n%s\nit was:\n%s", got, before)
	}
	blob, _ := c.layer(t, c.cache())
	data, err := os.ReadFile(blob)
	must(t, err)
	data[len(data)/2] ^= 1
	must(t, os.WriteFile(blob, data, 0o644))
	if o := root.build(t, "--locked", "--cache", c.cache()); o.code != 4 {
		t.Errorf("a damaged blob: exit code %d: %s", o.code, o.stderr)
	}
	if o := root.build(t, "--cache", c.cache()); o.code != 1 {
		t.Errorf("a damaged blob, and a network: exit code %d: %s", o.code, o.stderr)
	}
}

// cachePlants are what mallory puts into a cache that is $1: links to what another user has in
// $2, and things with the names of blobs, $3.
var cachePlants = map[string]struct {
	plant   string
	refused bool // or a build works
}{
	"blobs is a link":             {`mv "$1/blobs" "$1/b"; ln -s "$2/layout" "$1/blobs"`, true},
	"no cache yet, blobs is one":  {`rm -rf "$1/blobs"; ln -s "$2/layout" "$1/blobs"`, true},
	"blobs/blobs is a link":       {`mv "$1/blobs/blobs" "$1/b"; ln -s "$2/layout/blobs" "$1/blobs/blobs"`, true},
	"blobs/blobs is a link in it": {`mv "$1/blobs/blobs" "$1/blobs/b"; ln -s b "$1/blobs/blobs"`, true},
	"sha256 is another's":         {`mv "$1/blobs/blobs/sha256" "$1/b"; cp -r "$1/b" "$1/blobs/blobs/sha256"`, true},
	"blobs is another's":          {`mv "$1/blobs" "$1/b"; cp -r "$1/b" "$1/blobs" 2>/dev/null || :`, true},
	"links for downloads":         {`for h in $3; do ln -s "$2/secret" "$1/blobs/.partial-sha256-$h"; ln -s "$2/secret" "$1/blobs/.fetch-sha256-$h.lock"; done`, false},
	"locks for downloads":         {`for h in $3; do : >"$1/blobs/.fetch-sha256-$h.lock"; mkfifo "$1/blobs/.partial-sha256-$h"; chmod 0 "$1/blobs/.fetch-sha256-$h.lock"; done`, false},
	"the lock is a link":          {`rm -f "$1/blobs/.users.lock"; ln -s "$2/secret" "$1/blobs/.users.lock"`, false},
	"the lock is a FIFO":          {`rm -f "$1/blobs/.users.lock"; mkfifo "$1/blobs/.users.lock"`, false},
	"blobs are links":             {`for h in $3; do rm -f "$1/blobs/blobs/sha256/$h"; ln -s "$2/secret" "$1/blobs/blobs/sha256/$h"; done`, false},
	"blobs are FIFOs":             {`for h in $3; do rm -f "$1/blobs/blobs/sha256/$h"; mkfifo "$1/blobs/blobs/sha256/$h"; done`, false},
	"blobs are huge":              {`for h in $3; do rm -f "$1/blobs/blobs/sha256/$h"; truncate -s 200G "$1/blobs/blobs/sha256/$h"; done`, false},
	"the list is a FIFO":          {`rm -f "$1/blobs/index.json"; mkfifo "$1/blobs/index.json"`, false},
	"the list is another's":       {`cp "$1/blobs/index.json" "$1/i"; rm "$1/blobs/index.json"; mv "$1/i" "$1/blobs/index.json"`, false},
}

// TestCachePlanted: what others put into a cache that they can write to leads nowhere, and
// prevents nobody from building.
func TestCachePlanted(t *testing.T) {
	needRoot(t)
	for name, p := range cachePlants {
		t.Run(name, func(t *testing.T) {
			c := newCacheCase(t, nobody)
			cache, blobs := c.openCache(t)
			mine := c.mine(t)
			malloryRuns(t, p.plant, cache, c.home, blobs)
			began := time.Now()
			o := c.build(t, "--cache", cache)
			if refused := o.code != 0; refused != p.refused || o.code < 0 {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
			if p.refused {
				mustFind(t, o.stderr, cache, "remove it")
			}
			for _, args := range [][]string{{"ls"}, {"verify"}, {"prune", "--all"}} {
				if o := c.run(t, nobody, append([]string{"cache", "--cache", cache}, args...)...); o.code < 0 || p.refused && o.code != 1 {
					t.Errorf("cache %q: exit code %d: %s", args, o.code, o.stderr)
				}
			}
			if took := time.Since(began); took > deadline {
				t.Errorf("it took %v", took)
			}
			if got := c.mine(t); got != mine {
				t.Errorf("what is not in the cache:\n%s\nit was:\n%s", got, mine)
			}
		})
	}
}

// openCache makes a cache that everybody can write to, with the names of its blobs, and beside it
// the user's other files.
func (c *cacheCase) openCache(t *testing.T) (cache, blobs string) {
	t.Helper()
	mustRun(t, c.home, "build", "--name", "mine", "--tag", "1", "--copy", filepath.Join(c.dir, "motd"), "-q", "-o", "oci:layout")
	put(t, filepath.Join(c.home, "secret"), "secret\n", 0o644)
	must(t, filepath.WalkDir(c.home, func(path string, _ fs.DirEntry, err error) error {
		own(t, int(c.uid), path)
		return err
	}))
	cache = filepath.Join(c.home, "shared")
	c.mustBuild(t, "--cache", cache)
	for _, dir := range []string{"", "blobs", "blobs/blobs", "blobs/blobs/sha256"} {
		must(t, os.Chmod(filepath.Join(cache, dir), 0o777))
	}
	return cache, strings.Join(names(filepath.Join(cache, "blobs/blobs/sha256")), " ")
}

// mine describes the user's files outside the cache.
func (c *cacheCase) mine(t *testing.T) string {
	t.Helper()
	return fingerprint(t, filepath.Join(c.home, "layout"), true) + fingerprint(t, filepath.Join(c.home, "secret"), true)
}

// TestCacheSizes: a blob that has another size than it should is not hashed.
func TestCacheSizes(t *testing.T) {
	c := newCacheCase(t, uint32(os.Geteuid()))
	c.mustBuild(t)
	blob, size := c.layer(t, c.cache())
	must(t, os.Truncate(blob, 200<<30))
	o := c.build(t, "--locked")
	if o.code != 4 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	mustFind(t, o.stderr, fmt.Sprintf("has %d bytes, %d are expected", int64(200<<30), size))
	c.want(t, 4, "are expected", "cache", "verify")
	c.mustBuild(t)
	c.want(t, 0, "3 blobs of 1 image, and ", "cache", "verify")
	// The size of documents may be unknown, but they are never so large.
	for _, name := range names(filepath.Dir(blob)) {
		must(t, os.Truncate(filepath.Join(filepath.Dir(blob), name), 200<<30))
	}
	if o := c.build(t, "--locked"); o.code < 1 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	c.mustBuild(t)
}
