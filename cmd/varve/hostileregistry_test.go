package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// spoiledAnswer is what a registry answers instead of something.
type spoiledAnswer struct {
	name string
	// path is a part of the paths that get this answer.
	path string
	// answer is given the correct answer.
	answer   func(w http.ResponseWriter, r *http.Request, right []byte)
	message  string
	mismatch bool
}

func spoiledAnswers() []spoiledAnswer {
	instead := func(contentType string, change func(right []byte) []byte) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, right []byte) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(change(right))
		}
	}
	const manifest, bytesOf = "application/vnd.oci.image.manifest.v1+json", "application/octet-stream"
	page := func([]byte) []byte { return []byte("<html>log in") }
	endless := func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", manifest)
		for zeros := make([]byte, 1<<20); ; {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	}
	return []spoiledAnswer{
		{"other bytes for a blob", "/blobs/", instead(bytesOf, func(right []byte) []byte { return append([]byte{right[0] ^ 1}, right[1:]...) }), "digest is", true},
		{"more bytes for a blob", "/blobs/", instead(bytesOf, func(right []byte) []byte { return append(right, 'x') }), "are expected", false},
		{"fewer bytes for a blob", "/blobs/", instead(bytesOf, func(right []byte) []byte { return right[1:] }), "are expected", false},
		{"endless blob", "/blobs/", endless, "that are expected", false},
		{"page in place of a blob", "/blobs/", instead("text/html", page), "page for a browser", false},
		{"page in place of a manifest", "/manifests/", instead("text/html", page), "page for a browser", false},
		{"another manifest", "/manifests/", instead(manifest, func(right []byte) []byte { return append(right, '\n') }), "digest is", true},
		{"endless manifest", "/manifests/", endless, "more than 8388608 bytes", false},
		{"redirects in a circle", "/manifests/", func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, "redirects", false},
		{"redirect to a cloud's metadata", "/blobs/", func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, "https://169.254.169.254/latest", http.StatusTemporaryRedirect)
		}, "of this machine or its link", false},
		{"tokens from a cloud's metadata", "/manifests/", func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://169.254.169.254/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, "of this machine or its link", false},
	}
}

// TestHostileRegistries: a registry's answer that is not what was asked for is
// refused, as in TestHostile, and does not get into the cache.
func TestHostileRegistries(t *testing.T) {
	for _, s := range spoiledAnswers() {
		t.Run(s.name, s.run)
	}
}

func (s spoiledAnswer) run(t *testing.T) {
	registry := ociserver.New(ocimem.New(), nil)
	var spoil atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !spoil.Load() || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, s.path) {
			registry.ServeHTTP(w, r)
			return
		}
		right := httptest.NewRecorder()
		registry.ServeHTTP(right, r)
		s.answer(w, r, right.Body.Bytes())
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "file"), "base", 0o644)
	base := "docker://" + host + "/base:1"
	pushed := mustRun(t, dir, "build", "--name", "base", "--tag", "1", "--copy", "file", "-o", base, "--insecure", host)
	_, digest, _ := strings.Cut(pushed.stderr, " is sha256:")
	base += "@sha256:" + digest[:64]
	spoil.Store(true)
	for _, args := range [][]string{
		{"build", "--name", "x", "--from", base, "--copy", "file", "-q", "-o", "out/a.tar"},
		{"copy", "-q", base, "oci:out/layout:1"},
		{"pull", strings.TrimPrefix(base, "docker://"), "-q", "-o", "out/a.tar"},
		{"export", base, "-o", "out/tree/"},
	} {
		for _, name := range []string{"tmp", "out"} {
			makeDirs(t, filepath.Join(dir, name))
		}
		cmd := varve(t, dir, append(args, "--insecure", host)...)
		cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(dir, "tmp"))
		want := badInput{code: 1, message: []string{s.message}}
		if s.mismatch {
			want.code = 4
		}
		want.check(t, run(t, cmd))
		for _, place := range []string{"tmp", "out"} {
			if left := names(filepath.Join(dir, place)); len(left) > 0 {
				t.Errorf("varve %q: left in %s: %q", args, place, left)
			}
		}
		wantCacheSound(t)
		if t.Failed() {
			t.Fatalf("varve %q", args)
		}
	}
}

// wantCacheSound fails unless every blob in the cache has the digest in its name,
// and nothing is there in part.
func wantCacheSound(t *testing.T) {
	t.Helper()
	blobs := filepath.Join(cacheHome(t), "varve", "blobs")
	err := filepath.WalkDir(blobs, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		parent := filepath.Base(filepath.Dir(name))
		if parent == "sha256" && fmt.Sprintf("%x", sha256.Sum256(data)) != d.Name() || strings.HasPrefix(d.Name(), ".partial") && !bytes.Equal(data, nil) {
			t.Errorf("in the cache is %s, of %d bytes", name, len(data))
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
}
