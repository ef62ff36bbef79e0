package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const secret = "s3cr3t-pass"

// withTokens makes a registry demand a token, which its own /token returns for
// the password, or to anybody if that is empty.
func withTokens(password string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if _, got, _ := r.BasicAuth(); got != password {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			fmt.Fprintf(w, `{"token":"t-%s"}`, strings.Join(r.URL.Query()["scope"], "+"))
			return true
		}
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer t-repository:app:pull") {
			return false
		}
		w.Header().Set("WWW-Authenticate", bearer(r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestTokens(t *testing.T) {
	noLeaks(t)
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	reg.setHook(withTokens(secret))
	opts := reg.options()
	wantNoLogin(t, pull(t.Context(), reg.host+"/app:1", opts), reg.host)
	opts.Username, opts.Password = "user", "wrong-"+secret
	err := pull(t.Context(), reg.host+"/app:1", opts)
	wantError(t, err, "status 401", `the login of user "user" from the options is refused`)
	if errors.As(err, new(*LoginError)) || strings.Contains(err.Error(), secret) {
		t.Errorf("the password is in %q", err)
	}
	opts.Password = secret
	mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: opts, MountFrom: []string{"base"}})
	if err := pull(t.Context(), reg.host+"/app:1", opts); err != nil {
		t.Error(err)
	}
}

// TestTokenExpires: a token that is refused once is replaced.
func TestTokenExpires(t *testing.T) {
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: reg.options()})
	uses := map[string]int{}
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			fmt.Fprintf(w, `{"access_token":"t%d"}`, len(uses))
			return true
		}
		a := r.Header.Get("Authorization")
		if uses[a]++; a != "" && uses[a] <= 2 {
			return false
		}
		w.Header().Set("WWW-Authenticate", bearer(r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	if err := pull(t.Context(), reg.host+"/app:1", reg.options()); err != nil {
		t.Error(err)
	}
}

func TestHostileTokens(t *testing.T) {
	other := newFake(t, http.NotFoundHandler(), true) // on loopback, as the metadata service of a cloud is link-local
	for _, tt := range []struct {
		name, realm string // HOST is the registry
		token       func(w http.ResponseWriter, r *http.Request)
		want        string
	}{
		{"plain http", "http://example.com/token", nil, "does not use https"},
		{"plain http, the registry", "http://HOST/token", nil, "does not use https"},
		{"link-local", "https://169.254.169.254/token", nil, "of this machine or its link"},
		{"link-local, IPv6", "https://[fe80::1]/token", nil, "of this machine or its link"},
		{"mapped", "https://[::ffff:169.254.169.254]/token", nil, "of this machine or its link"},
		{"NAT64", "https://[64:ff9b::a9fe:a9fe]/token", nil, "of this machine or its link"},
		{"6to4", "https://[2002:a9fe:a9fe::1]/token", nil, "of this machine or its link"},
		{"loopback", "https://" + other.host + "/token", nil, "of this machine or its link"},
		{"file", "file:///etc/passwd", nil, "is not an address"},
		{"with a user", "https://a:b@HOST/token", nil, "is not an address"},
		{"1 GB", "https://HOST/token", endless, "more than 1048576 bytes"},
		{"page", "https://HOST/token", page("text/html", "<html>"), "not JSON with a token"},
		{"none", "https://HOST/token", page("application/json", `{}`), "there is no token"},
		{"line break", "https://HOST/token", page("application/json", `{"token":"a\r\nb: c"}`), "there is no token"},
		{"redirected to link-local", "https://HOST/token", redirect(func(*http.Request) string { return "https://169.254.169.254/" }), "of this machine or its link"},
		{"redirected to http", "https://HOST/token", redirect(func(r *http.Request) string { return "http://" + r.Host + "/token" }), "from https to http"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			reg := newFake(t, inProcess["go-containerregistry"](), true)
			reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/token" && tt.token != nil {
					tt.token(w, r)
					return true
				}
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+strings.ReplaceAll(tt.realm, "HOST", r.Host)+`"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			})
			opts := reg.options()
			opts.Username, opts.Password = "user", secret
			err := pull(t.Context(), reg.host+"/app:1", opts)
			wantError(t, err, tt.want)
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the password is in %q", err)
			}
		})
	}
	if n := other.count("", ""); n != 0 {
		t.Errorf("%d requests went to another host", n)
	}
}

// TestAuthorizationStays: a redirect's target gets no credentials, and none of
// its answers counts as the registry's demand for a login.
func TestAuthorizationStays(t *testing.T) {
	noLeaks(t)
	var status int
	other := newFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", bearer(r.Host))
		w.WriteHeader(status)
	}), true)
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	img := newImage(textLayer{"a", "a layer"})
	opts := reg.options()
	opts.Username, opts.Password = "user", secret
	opts.InsecureHosts = []string{other.host} // otherwise it would not be contacted at all
	mustPush(t, reg.host+"/app:1", img, PushOptions{Options: opts})
	tokens := withTokens(secret)
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		if tokens(w, r) {
			return true
		}
		if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
			http.Redirect(w, r, other.server.URL+"/signed?key="+secret, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	for _, status = range []int{http.StatusUnauthorized, http.StatusForbidden} {
		err := pull(t.Context(), reg.host+"/app:1", opts)
		wantError(t, err, fmt.Sprint("status ", status), "of host \""+other.host)
		if strings.Contains(err.Error(), secret) || errors.As(err, new(*LoginError)) {
			t.Errorf("error %q", err)
		}
	}
	if n := other.count("GET", "/token"); n != 0 {
		t.Errorf("%d tokens were asked of the other host", n)
	}
	for _, h := range other.headers {
		if h.Get("Authorization") != "" || h.Get("Referer") != "" {
			t.Errorf("headers %v", h)
		}
	}
	if len(other.headers) == 0 {
		t.Error("nothing was redirected")
	}
}

func TestParseChallenges(t *testing.T) {
	for in, want := range map[string]string{
		`Bearer realm="https://a/t",service="b c",scope="x:y:pull,push"`: "bearer https://a/t b c x:y:pull,push",
		`bearer realm=https, service="a\"b"`:                             "bearer https a\"b ",
		`Negotiate, Basic realm="x"`:                                     "basic x  ",
		`Negotiate YWJj==, BEARER realm="x"`:                             "bearer x  ",
		`Bearer service="x"`:                                             "",
		`Bearer realm="unterminated`:                                     "",
		`,,, `:                                                           "",
		`"`:                                                              "",
	} {
		ch, ok := pickChallenge([]string{in})
		got := ""
		if ok {
			got = strings.Join([]string{ch.scheme, ch.parameters["realm"], ch.parameters["service"], ch.parameters["scope"]}, " ")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://a/t",service="b c"`)
	f.Add(`Negotiate YWJj==, Basic realm=x`)
	f.Add(`a="\`)
	f.Add(`Bearer realm="http://169.254.169.254/t",service="x\"y", scope="repository:a:pull,push",Basic realm="b"`)
	f.Add(`Bearer realm = "a" , realm=b, Digest qop="auth, auth-int", Negotiate YWJj==, ,`)
	f.Fuzz(func(t *testing.T, s string) {
		all := parseChallenges(s)
		for _, ch := range all {
			if ch.scheme == "" || ch.scheme != strings.ToLower(ch.scheme) || ch.parameters == nil || strings.ContainsAny(ch.scheme, "\r\n \",=") {
				t.Errorf("%q: challenge %+v", s, ch)
			}
		}
		if again := parseChallenges(printChallenges(all)); !reflect.DeepEqual(again, all) {
			t.Errorf("%q reads as %+v, and that again as %+v", s, all, again)
		}
	})
}

// printChallenges returns the header of the challenges.
func printChallenges(all []challenge) string {
	var texts []string
	for _, ch := range all {
		text := ch.scheme
		for _, key := range slices.Sorted(maps.Keys(ch.parameters)) {
			text += " " + key + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(ch.parameters[key]) + `",`
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

func FuzzReference(f *testing.F) {
	f.Add("debian")
	f.Add("localhost:5000/a/b:c@" + digest.FromString("x").String())
	for _, s := range []string{
		"[::1]:5000/a", "[fe80::1%25eth0]/a", "a.b/../c", "a.b/c@sha256:../..", "HOST/a", "a.b:99999/c", "user@a.b/c", "a.b/c?d#e", "a.b/c:tag\n",
		"docker.io/library/a", "index.docker.io/a", strings.Repeat("a/", 200) + "a", "a:" + strings.Repeat("b", 200), digest.FromString("x").Encoded(),
		"a@" + digest.SHA512.FromString("x").String(), "a@sha384:" + digest.SHA384.FromString("x").Encoded(),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := parseReference(s)
		if err != nil {
			return
		}
		if again, err := parseReference(ref.String()); err != nil || again != ref {
			t.Errorf("%q reads as %+v, and again as %+v, %v", s, ref, again, err)
		}
		if strings.ContainsAny(ref.repository+ref.target(), "?#%\\ \n") || strings.Contains(ref.repository, "..") || ref.host == "" {
			t.Errorf("%q: %+v", s, ref)
		}
		u, err := url.Parse("https://" + ref.host + "/v2/" + ref.repository + "/manifests/" + ref.target())
		if err != nil || u.Host != ref.host || u.User != nil || u.RawQuery != "" || u.EscapedPath() != "/v2/"+ref.repository+"/manifests/"+ref.target() {
			t.Errorf("%q is asked for at %v, %v", s, u, err)
		}
	})
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// The helpers are found by name, in the test's PATH.
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	write("docker-credential-test", "#!/bin/sh\nread host\ncase $host in\nquay.io) echo '{\"Username\":\"helped\",\"Secret\":\"by '$1'\"}';;\n"+
		"id.io) echo '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}';;\nbad.io) echo secret; exit 1;;\n"+
		"*) echo credentials not found in native keychain; exit 1;; esac\n", 0o755)
	auth := base64.StdEncoding.EncodeToString([]byte("u:p:q"))
	none, fifo, zero := filepath.Join(dir, "none"), filepath.Join(dir, "fifo"), filepath.Join(dir, "zero")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Symlink("/dev/zero", zero)); err != nil {
		t.Fatal(err)
	}
	plain := write("plain", `{"auths":{"https://index.docker.io/v1/":{"auth":"`+auth+`"},"quay.io/team":{"username":"team","password":"1"},"quay.io":{"auth":"`+auth+`"}},"other":[]}`, 0o600)
	helpers := write("helpers", `{"auths":{"quay.io":{}},"credHelpers":{"bad.io":"test","up.io":"../up"},"credsStore":"test"}`, 0o600)
	broken := write("broken", `{"auths":{"quay.io":{"auth":"`+secret+`"}}}`, 0o600)
	for _, tt := range []struct {
		name  string
		files []string
		ref   string
		want  credentials
		err   string
	}{
		{"none", []string{none}, "quay.io/a", credentials{}, ""},
		{"hub", []string{none, plain}, "debian", credentials{username: "u", password: "p:q"}, ""},
		{"namespace", []string{plain}, "quay.io/team/app", credentials{username: "team", password: "1"}, ""},
		{"registry", []string{plain}, "quay.io/teams/app", credentials{username: "u", password: "p:q"}, ""},
		{"not there", []string{plain}, "gcr.io/a/b", credentials{}, ""},
		{"store", []string{helpers}, "quay.io/a", credentials{username: "helped", password: "by get"}, ""},
		{"identity token", []string{helpers}, "id.io/a", credentials{identityToken: "refresh"}, ""},
		{"next file", []string{helpers, plain}, "debian", credentials{username: "u", password: "p:q"}, ""},
		{"helper fails", []string{helpers}, "bad.io/a", credentials{}, "docker-credential-test"},
		{"helper is a path", []string{helpers}, "up.io/a", credentials{}, "not the name of a credential helper"},
		{"broken", []string{broken}, "quay.io/a", credentials{}, "not USER:PASSWORD"},
		{"not JSON", []string{write("text", secret, 0o600)}, "quay.io/a", credentials{}, "not a JSON file"},
		{"directory", []string{dir}, "quay.io/a", credentials{}, "it is a directory"},
		{"FIFO", []string{fifo}, "quay.io/a", credentials{}, "it is a FIFO"},
		{"device", []string{zero}, "quay.io/a", credentials{}, "it is a device"},
		{"large", []string{write("large", strings.Repeat(" ", maxAuthFile+1), 0o600)}, "quay.io/a", credentials{}, "it has more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref, err := parseReference(tt.ref)
			if err != nil {
				t.Fatal(err)
			}
			got, err := findCredentials(t.Context(), ref, Options{AuthFiles: tt.files})
			if tt.err != "" {
				wantError(t, err, tt.err)
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: a secret is in %q", tt.name, err)
				}
			} else if got == nil || err != nil || !reflect.DeepEqual(got.credentials, tt.want) {
				t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
			}
		})
	}
}

// TestHelperCancel: a helper that hangs ends with the context.
func TestHelperCancel(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-hang"), []byte("#!/bin/sh\nsleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := runHelper(ctx, "hang", "quay.io")
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
	wantError(t, err, "deadline")
}

// TestIdentityToken: it is exchanged by POST, and goes nowhere else.
func TestIdentityToken(t *testing.T) {
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: reg.options()})
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			if r.Method != http.MethodPost || r.FormValue("refresh_token") != secret || r.FormValue("scope") != "repository:app:pull" {
				t.Errorf("%s %v", r.Method, r.Form)
			}
			fmt.Fprint(w, `{"access_token":"t"}`)
		case r.Header.Get("Authorization") == "Bearer t":
			return false
		default:
			w.Header().Set("WWW-Authenticate", bearer(r.Host))
			w.WriteHeader(http.StatusUnauthorized)
		}
		return true
	})
	opts := reg.options()
	path := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(path, fmt.Appendf(nil, `{"auths":{%q:{"identitytoken":%q}}}`, reg.host, secret), 0o600); err != nil {
		t.Fatal(err)
	}
	opts.AuthFiles = []string{path}
	if err := pull(t.Context(), reg.host+"/app:1", opts); err != nil {
		t.Error(err)
	}
}

// TestBasic: a registry that wants a password may let anybody read.
func TestBasic(t *testing.T) {
	noLeaks(t)
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user == "user" && password == secret || r.Method == http.MethodGet && r.URL.Path != "/v2/" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	opts := reg.options()
	_, err := Push(t.Context(), reg.host+"/app:1", newImage(), PushOptions{Options: opts})
	wantNoLogin(t, err, reg.host)
	opts.Username, opts.Password = "user", secret
	mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: opts})
	if err := pull(t.Context(), reg.host+"/app:1", reg.options()); err != nil {
		t.Error(err)
	}
}
