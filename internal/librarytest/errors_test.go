package librarytest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"

	"github.com/varve-image/varve"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
)

// kinds are the errors that a program may ask for.
var kinds = map[string]error{
	"ErrNotPinned": varve.ErrNotPinned, "ErrNotFound": varve.ErrNotFound, "ErrLogin": varve.ErrLogin,
	"ErrLacking": varve.ErrLacking, "ErrMismatch": varve.ErrMismatch, "ErrNotInitialized": varve.ErrNotInitialized,
}

// wantKind checks that an error is of one kind and no other.
func wantKind(t *testing.T, err error, want string) {
	t.Helper()
	for name, kind := range kinds {
		if errors.Is(err, kind) != (name == want) {
			t.Errorf("%v: is %s: %v, want %v", err, name, errors.Is(err, kind), name == want)
		}
	}
}

// registry serves an empty registry, with refuse before it where that is set, and returns its
// host.
func registry(t *testing.T, refuse http.HandlerFunc) (host string, opts *varve.Options) {
	t.Helper()
	handler := http.Handler(ociserver.New(ocimem.New(), nil))
	if refuse != nil {
		handler = refuse
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	return host, &varve.Options{Registry: varve.Registry{InsecureHosts: []string{host}}}
}

// saved writes a small image and returns its path.
func saved(t *testing.T, ref string) {
	t.Helper()
	s := spec.New("saved")
	s.Tag = "1"
	s.CopyToRoot = []spec.Copy{{Source: "library_test.go", Target: "/src/"}}
	img, err := varve.Build(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if _, err := varve.Write(t.Context(), img, ref, nil); err != nil {
		t.Fatal(err)
	}
}

func buildOn(ctx context.Context, ref string, opts *varve.Options) error {
	s := spec.New("above")
	s.FromImage = ref
	img, err := varve.Build(ctx, s, opts)
	if err == nil {
		img.Close()
	}
	return err
}

func open(t *testing.T, ref string, opts *varve.Options) error {
	t.Helper()
	img, err := varve.Open(t.Context(), ref, opts)
	if err == nil {
		img.Close()
	}
	return err
}

func TestErrNotPinned(t *testing.T) {
	wantKind(t, buildOn(t.Context(), "docker://registry.example/base:1", nil), "ErrNotPinned")
	wantKind(t, buildOn(t.Context(), "docker-daemon:base:1", &varve.Options{Locked: true}), "ErrNotPinned")
}

func TestErrNotFound(t *testing.T) {
	host, opts := registry(t, nil)
	dir := t.TempDir()
	saved(t, dir+"/a.tar")
	saved(t, "oci:"+dir+"/layout")
	for _, ref := range []string{
		"docker://" + host + "/no/such:1",
		"docker://" + host + "/no/such@sha256:" + strings.Repeat("0", 64),
		dir + "/a.tar:other:1",
		"docker-archive:" + dir + "/a.tar:other:1",
		"oci:" + dir + "/layout:other",
		dir + "/missing.tar",
		"oci:" + dir + "/missing",
		"docker-archive:" + dir + "/missing.tar",
	} {
		t.Run(ref, func(t *testing.T) { wantKind(t, open(t, ref, opts), "ErrNotFound") })
	}
	pinned := "docker://" + host + "/no/such@sha256:" + strings.Repeat("0", 64)
	wantKind(t, buildOn(t.Context(), pinned, opts), "ErrNotFound")
	opts.Cache, opts.Locked = t.TempDir(), true
	wantKind(t, buildOn(t.Context(), pinned, opts), "ErrNotFound")
}

// TestErrNotFoundSource: a file that a spec names is not an image.
func TestErrNotFoundSource(t *testing.T) {
	s := spec.New("a")
	s.CopyToRoot = []spec.Copy{{Source: filepath.Join(t.TempDir(), "missing"), Target: "/"}}
	_, err := varve.Build(t.Context(), s, nil)
	if err == nil {
		t.Fatal("built")
	}
	wantKind(t, err, "")
}

func TestErrLogin(t *testing.T) {
	basic := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	forbidden := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	token := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	for name, refuse := range map[string]http.HandlerFunc{"basic": basic, "token": token, "forbidden": forbidden} {
		for _, user := range []string{"", "acme"} {
			t.Run(name+" "+user, func(t *testing.T) {
				host, opts := registry(t, refuse)
				opts.Registry.Login = func(string) (string, string, error) { return user, "wrong", nil }
				if user == "" {
					opts.Registry.Login = nil
				}
				wantKind(t, open(t, "docker://"+host+"/a:1", opts), "ErrLogin")
			})
		}
	}
}

func TestErrLacking(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"DOCKER_HOST": "unix://" + t.TempDir() + "/none.sock"}[name]
	}
	wantKind(t, open(t, "docker-daemon:a:1", &varve.Options{Env: env}), "ErrLacking")
}

func TestErrMismatch(t *testing.T) {
	dir := t.TempDir()
	saved(t, "oci:"+dir)
	blobs, err := filepath.Glob(dir + "/blobs/sha256/*")
	if err != nil || len(blobs) == 0 {
		t.Fatal(blobs, err)
	}
	for _, name := range blobs {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(data, []byte("{")) {
			continue
		}
		data[len(data)-1] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = varve.Copy(t.Context(), "oci:"+dir, "dir:"+t.TempDir()+"/d", nil)
	wantKind(t, err, "ErrMismatch")
	if mismatch, ok := errors.AsType[*layer.DigestError](err); !ok || mismatch.Want == mismatch.Got {
		t.Errorf("%v is not a layer.DigestError", err)
	}
}
