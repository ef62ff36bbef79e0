package main

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"

	"github.com/varve-image/varve/internal/enginetest"
)

// loggingIn runs varve against a registry with a login, and looks for secrets in
// all its output.
type loggingIn struct {
	reg enginetest.GuardedRegistry
	dir string
}

// run runs varve with lines of environment and a standard input.
func (l loggingIn) run(t *testing.T, code int, stdin string, env []string, args ...string) string {
	t.Helper()
	cmd := varve(t, l.dir, append(args, "--ca-file", l.reg.CAFile, "-vv")...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin = strings.NewReader(stdin)
	o := run(t, cmd)
	if o.code != code {
		t.Errorf("varve %q: exit code %d, want %d: %s", args, o.code, code, o.stderr)
	}
	for _, secret := range l.secrets() {
		if strings.Contains(o.stdout+o.stderr, secret) {
			t.Errorf("varve %q: %q is in\n%s%s", args, secret, o.stdout, o.stderr)
		}
	}
	return o.stderr
}

func (l loggingIn) auth() string {
	return base64.StdEncoding.EncodeToString([]byte(l.reg.Username + ":" + l.reg.Password))
}

// secrets returns texts that nobody may see.
func (l loggingIn) secrets() []string { return []string{l.reg.Password, l.auth(), proxyPassword} }

// TestRegistryLogin: each way to log in works by itself, and the credentials go
// only to the registry.
func TestRegistryLogin(t *testing.T) {
	l := loggingIn{enginetest.RegistryWithLogin(t), openDir(t, "")}
	put(t, filepath.Join(l.dir, "motd"), "hello\n", 0o644)
	mustRun(t, l.dir, "build", "--name", "base", "--tag", "1", "--copy", "motd", "-q", "-o", "oci:base:1")
	remote := "docker://" + l.reg.Host + "/team/base:1"

	mustFind(t, l.run(t, 1, "", nil, "push", "oci:base:1", remote), "docker login "+l.reg.Host)
	mustFind(t, l.run(t, 1, "wrong\n", nil, "push", "oci:base:1", remote, "--username", l.reg.Username, "--password-stdin"), "the login of user", "from --username is refused")
	l.run(t, 0, l.reg.Password+"\n", nil, "push", "oci:base:1", remote, "--username", l.reg.Username, "--password-stdin")

	file := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, l.reg.Host, l.auth())
	put(t, filepath.Join(l.dir, "docker", "config.json"), file, 0o600)
	put(t, filepath.Join(l.dir, "podman", "containers", "auth.json"), file, 0o600)
	put(t, filepath.Join(l.dir, "helped", "config.json"), fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, l.reg.Host), 0o600)
	put(t, filepath.Join(l.dir, "bin", "docker-credential-test"),
		fmt.Sprintf("#!/bin/sh\nread host\necho '{\"Username\":\"%s\",\"Secret\":\"%s\"}'\n", l.reg.Username, l.reg.Password), 0o755)
	for name, env := range map[string][]string{
		"docker": {"DOCKER_CONFIG=" + filepath.Join(l.dir, "docker")},
		"podman": {"XDG_RUNTIME_DIR=" + filepath.Join(l.dir, "podman")},
		"file":   {"REGISTRY_AUTH_FILE=" + filepath.Join(l.dir, "docker", "config.json")},
		"helper": {"DOCKER_CONFIG=" + filepath.Join(l.dir, "helped"), "PATH=" + filepath.Join(l.dir, "bin") + ":" + os.Getenv("PATH")},
	} {
		t.Run(name, func(t *testing.T) {
			mustFind(t, l.run(t, 0, "", env, "copy", remote, "oci:back-"+name+":1"), "taking the login of user", ".json")
			if a, b := fingerprint(t, filepath.Join(l.dir, "base", "blobs"), false), fingerprint(t, filepath.Join(l.dir, "back-"+name, "blobs"), false); a != b {
				t.Errorf("it comes back as\n%s\nwant\n%s", b, a)
			}
		})
	}
	// One password is for one registry, which is determined before either is contacted.
	said := l.run(t, 2, l.reg.Password+"\n", nil, "copy", remote, "docker://other.example/x:1", "--username", l.reg.Username, "--password-stdin")
	mustFind(t, said, "are for one registry", "other.example", l.reg.Host)

	l.nowhere(t, l.reg.Data)
	for _, dir := range []string{"base", "back-docker", "back-helper"} {
		l.nowhere(t, filepath.Join(l.dir, dir))
	}
}

// nowhere fails if a secret is in a file below dir.
func (l loggingIn) nowhere(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		for _, secret := range l.secrets() {
			if strings.Contains(string(data), secret) {
				t.Errorf("%q is in %q", secret, path)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files in %q: %v", files, dir, err)
	}
}

const proxyPassword = "pr0xy-pass"

// TestRegistryProxy: https goes through the proxy of the environment, which
// sees neither the login nor what is sent, unless NO_PROXY names the host.
func TestRegistryProxy(t *testing.T) {
	l := loggingIn{enginetest.RegistryWithLogin(t), openDir(t, "")}
	put(t, filepath.Join(l.dir, "motd"), "hello\n", 0o644)
	_, port, _ := strings.Cut(l.reg.Host, ":")
	name := "registry.example:" + port // only the proxy knows where that is
	var tunnels atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth := base64.StdEncoding.EncodeToString([]byte("me:" + proxyPassword))
		if r.Method != http.MethodConnect || r.Host != name || r.Header.Get("Proxy-Authorization") != "Basic "+auth || r.Header.Get("Authorization") != "" {
			t.Errorf("the proxy was asked %s %s %v", r.Method, r.Host, r.Header)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		tunnels.Add(1)
		enginetest.Tunnel(t, w, l.reg.Host)
	}))
	defer proxy.Close()
	through := "HTTPS_PROXY=http://me:" + proxyPassword + "@" + strings.TrimPrefix(proxy.URL, "http://")
	build := []string{"build", "--name", "base", "--copy", "motd", "-o", "docker://" + name + "/team/base:1", "--username", l.reg.Username, "--password-stdin"}
	l.run(t, 0, l.reg.Password+"\n", []string{through}, build...)
	if tunnels.Load() == 0 {
		t.Error("the proxy was not asked")
	}
	before := tunnels.Load()
	l.run(t, 1, l.reg.Password+"\n", []string{through, "NO_PROXY=registry.example"}, build...)
	if tunnels.Load() != before {
		t.Error("the proxy was asked in spite of NO_PROXY")
	}
	l.nowhere(t, l.reg.Data)
}

// TestRegistryInClear: --insecure does not send a password over a network in http;
// there varve is anonymous.
func TestRegistryInClear(t *testing.T) {
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "motd"), "hello\n", 0o644)
	var guarded atomic.Bool
	blobs := ociserver.New(ocimem.New(), nil)
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s has a login", r.Method, r.URL.Path)
		}
		if guarded.Load() {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		blobs.ServeHTTP(w, r)
	}))
	defer registry.Close()
	host := strings.TrimPrefix(registry.URL, "http://")
	_, port, _ := strings.Cut(host, ":")
	name := "registry.example:" + port // only the proxy knows where that is
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Host = host }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			enginetest.Tunnel(t, w, host)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	push := func(code int) string {
		t.Helper()
		cmd := varve(t, dir, "build", "--name", "base", "--copy", "motd", "-q", "-o", "docker://"+name+"/base:1", "--insecure", name, "--username", "me", "--password-stdin")
		cmd.Env = append(cmd.Env, "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL)
		cmd.Stdin = strings.NewReader("s3cr3t-pass\n")
		o := run(t, cmd)
		if o.code != code || strings.Contains(o.stderr, "s3cr3t") {
			t.Errorf("exit code %d, want %d: %s", o.code, code, o.stderr)
		}
		return o.stderr
	}
	push(0) // no login is needed
	guarded.Store(true)
	mustFind(t, push(1), `refused to send the login of user "me" from --username`, name, "in clear", "ssh -L")
}
