package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/ocijson"
)

// mislabelled is a registry in which base:1 is an index for amd64 and arm64.
type mislabelled struct {
	url, host string
	index     []byte
}

func newMislabelled(t *testing.T, dir string) *mislabelled {
	t.Helper()
	server := httptest.NewServer(ociserver.New(ocimem.New(), nil))
	t.Cleanup(server.Close)
	m := &mislabelled{url: server.URL, host: strings.TrimPrefix(server.URL, "http://")}
	put(t, filepath.Join(dir, "file"), "base", 0o644)
	mustRun(t, dir, "build", "--name", "base", "--tag", "1", "--copy", "file", "--platform", "linux/amd64,linux/arm64",
		"-q", "-o", "docker://"+m.host+"/base:1", "--insecure", m.host)
	resp, err := http.Get(server.URL + "/v2/base/manifests/1")
	must(t, err)
	defer resp.Body.Close()
	m.index, err = io.ReadAll(resp.Body)
	must(t, err)
	return m
}

// push adds the index with changes, as a tag, and returns its digest.
func (m *mislabelled) push(t *testing.T, tag string, changes ...string) digest.Digest {
	t.Helper()
	data := []byte(strings.NewReplacer(changes...).Replace(string(m.index)))
	mediaType, err := ocijson.MediaType(data)
	must(t, err)
	req, err := http.NewRequest(http.MethodPut, m.url+"/v2/base/manifests/"+tag, bytes.NewReader(data))
	must(t, err)
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("push %s: %s", tag, resp.Status)
	}
	return digest.FromBytes(data)
}

// TestMislabelledBase: an image that an index lists for another platform than its
// config's is refused as a base, and is not put into a varve.lock.
func TestMislabelledBase(t *testing.T) {
	dir := openDir(t, "")
	m := newMislabelled(t, dir)
	swapped := m.push(t, "swapped", "amd64", "arm64", "arm64", "amd64")
	half := m.push(t, "half", `"arm64"`, `"s390x"`)
	m.push(t, "nameless", "\"platform\": {\n                \"architecture\": \"arm64\"", "\"annotations\": {\n                \"architecture\": \"arm64\"")
	makeDirs(t, filepath.Join(dir, "out"))
	child := func(from string) string {
		return fmt.Sprintf("name: child\ntag: '1'\narchitecture: amd64\nfromImage: docker://%s/%s\n", m.host, from)
	}
	fails := func(code int, message string, args ...string) {
		t.Helper()
		badInput{code: code, message: []string{message}}.check(t, run(t, varve(t, dir, append(args, "--insecure", m.host)...)))
		if left := names(filepath.Join(dir, "out")); len(left) > 0 {
			t.Fatalf("%q: left in out: %q", args, left)
		}
	}
	const lie = "is listed for linux/amd64, and its config is for linux/arm64"
	put(t, filepath.Join(dir, "swapped.yaml"), child("base@"+swapped.String()), 0o644)
	put(t, filepath.Join(dir, "tag.yaml"), child("base:swapped"), 0o644)
	fails(1, lie, "build", "swapped.yaml", "-o", "out/x.tar")
	fails(1, lie, "build", "swapped.yaml", "-o", "out/x.tar", "--no-cache")
	fails(1, lie, "build", "swapped.yaml", "-o", "out/x.tar", "--locked")
	fails(1, lie, "build", "tag.yaml", "-o", "out/x.tar", "--unlocked")
	_, images, err := ocijson.ParseIndex(m.index)
	must(t, err)
	// The manifests by themselves are for the platforms in their configs.
	mustRun(t, dir, "build", "swapped.yaml", "--from", "docker://"+m.host+"/base@"+images[0].Digest.String(), "-q", "-o", "amd64.tar", "--insecure", m.host)
	o := run(t, varve(t, dir, "lock", "tag.yaml", "--insecure", m.host))
	if o.code != 1 || strings.Count(o.stderr, "left out: manifest ") != 2 || !strings.Contains(o.stderr, lie) || !strings.Contains(o.stderr, "its index has no image for linux") {
		t.Errorf("lock of an index of such: exit code %d, %s", o.code, o.stderr)
	}

	// The correct entries of an index are locked.
	put(t, filepath.Join(dir, "half.yaml"), child("base:half"), 0o644)
	put(t, filepath.Join(dir, "pinned.yaml"), child("base@"+half.String()), 0o644)
	put(t, filepath.Join(dir, "nameless.yaml"), child("base:nameless"), 0o644)
	for _, name := range []string{"half", "nameless", "pinned"} {
		o = mustRun(t, dir, "lock", name+".yaml", "--insecure", m.host)
		if strings.Count(o.stderr, "left out: manifest ") != 1 || !strings.Contains(o.stderr, "new, for linux/amd64\n") {
			t.Errorf("lock %s: %s", name, o.stderr)
		}
		for _, how := range []string{"", "--no-cache", "--locked", "--unlocked"} {
			args := []string{"build", name + ".yaml", "-q", "-o", name + ".tar", "--insecure", m.host}
			mustRun(t, dir, append(args, strings.Fields(how)...)...)
		}
		fails(2, "0 images are for platform linux/s390x", "build", name+".yaml", "--platform", "linux/s390x", "-o", "out/x.tar")
	}
}

// TestMislabelledLayout: the same in a layout, where a digest in a name counts, too.
func TestMislabelledLayout(t *testing.T) {
	dir := openDir(t, "")
	m := newMislabelled(t, dir)
	good := digest.FromBytes(m.index)
	name := m.host + "/base@" + good.String()
	bad := m.push(t, "bad", "amd64", "arm64", "arm64", "amd64")
	mustRun(t, dir, "copy", "-q", "--all", "docker://"+m.host+"/base:1", "oci:good:1", "--insecure", m.host)
	build := func(from string) outcome {
		return run(t, varve(t, dir, "build", "--name", "child", "--architecture", "amd64", "--from", from, "-q", "-o", "x.tar"))
	}
	// The layout's blobs, and an index.json that lists another index, or calls it so.
	blobs := filepath.Join(dir, "good/blobs/sha256")
	put(t, filepath.Join(blobs, bad.Encoded()), strings.NewReplacer("amd64", "arm64", "arm64", "amd64").Replace(string(m.index)), 0o644)
	list := func(d digest.Digest) {
		put(t, filepath.Join(dir, "good/index.json"), fmt.Sprintf(
			`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}]}`,
			d, len(m.index), name), 0o644)
	}
	list(good)
	if o := build("oci:good:" + name); o.code != 0 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	list(bad)
	badInput{code: 1, message: []string{"is listed for linux/amd64, and its config is for linux/arm64"}}.check(t, build("oci:good"))
	badInput{code: 4, message: []string{"digest is " + bad.String() + ", expected " + good.String()}}.check(t, build("oci:good:"+name))
}
