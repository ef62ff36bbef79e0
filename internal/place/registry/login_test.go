package registry

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
)

// TestInClear: credentials of any kind are not sent over a network in http, whoever asks for
// them, even if InsecureHosts names the host; within this machine they are.
func TestInClear(t *testing.T) {
	for _, tt := range []struct{ name, login, realm string }{
		{"password", `{"username":"u","password":"` + secret + `"}`, ""},
		{"password for tokens", `{"username":"u","password":"` + secret + `"}`, "http://HOST/token"},
		{"password for tokens from elsewhere", `{"username":"u","password":"` + secret + `"}`, "https://example.com/token"},
		{"refresh token", `{"identitytoken":"` + secret + `"}`, "http://HOST/token"},
		{"token", `{"registrytoken":"` + secret + `"}`, "http://HOST/token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := newFake(t, inProcess["cuelabs"](), false)
			reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/token":
					fmt.Fprint(w, `{"token":"t"}`)
				case r.Header.Get("Authorization") != "":
					return false
				case tt.realm == "":
					w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
					w.WriteHeader(http.StatusUnauthorized)
				default:
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+strings.ReplaceAll(tt.realm, "HOST", reg.host)+`"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
				return true
			})
			opts := reg.options()
			opts.AuthFiles = []string{filepath.Join(t.TempDir(), "auth.json")}
			if err := os.WriteFile(opts.AuthFiles[0], fmt.Appendf(nil, `{"auths":{%q:%s}}`, reg.host, tt.login), 0o600); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(tt.realm, "example.com") {
				mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: opts})
			}
			reg.reset()
			// Through a proxy it leaves the machine.
			opts.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxyTo(t, reg)) }
			_, err := Push(t.Context(), reg.host+"/app:1", newImage(), PushOptions{Options: opts})
			wantError(t, err, "refused to send the login", "in clear")
			wantDistrust(t, err, reg.host, DistrustPlainLogin)
			if reg.count("", "/v2/") == 0 || err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("error %q, requests %q", err, reg.requests)
			}
			for i, h := range reg.headers {
				if h.Get("Authorization") != "" || strings.Contains(reg.requests[i], "/token") {
					t.Errorf("%s has headers %v", reg.requests[i], h)
				}
			}
			// Without a login it is not refused.
			opts.AuthFiles = nil
			_, err = Push(t.Context(), reg.host+"/app:1", newImage(), PushOptions{Options: opts})
			if err != nil && strings.Contains(err.Error(), "in clear") {
				t.Error(err)
			}
		})
	}
}

// proxyTo returns a proxy that leads only to a registry.
func proxyTo(t *testing.T, reg *fakeRegistry) string {
	t.Helper()
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", reg.host }}
	proxy := newFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			enginetest.Tunnel(t, w, reg.host)
			return
		}
		pass.ServeHTTP(w, r)
	}), false)
	return proxy.server.URL
}

func TestWhatIsInClear(t *testing.T) {
	for text, want := range map[string]bool{
		"https://registry.example/": false, "http://registry.example/": true, "http://192.0.2.1:5000/": true, "http://localhost:5000/": false,
		"http://localhost.example/": true, "http://127.0.0.1/": false, "http://127.9.9.9:1/": false, "http://[::1]:5000/": false, "http://[::ffff:127.0.0.1]/": false,
		"http://0.0.0.0/": true, "http://169.254.1.1/": true, "http://[64:ff9b::7f00:1]/": true, "http://LOCALHOST/": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&policy{}).inClear(u); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

// TestRefusedLogin: errors distinguish a wrong password from none, and from one that does not
// suffice, wherever it comes from and whoever refuses it.
func TestRefusedLogin(t *testing.T) {
	basic := func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user == "user" && password == secret && strings.Contains(r.URL.Path, "/app/") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	unknown := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", "Negotiate")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	path := filepath.Join(t.TempDir(), "auth.json")
	for _, tt := range []struct {
		name           string
		hook           func(http.ResponseWriter, *http.Request) bool
		user, password string
		file           string
		want, not      string
	}{
		{"none", basic, "", "", "", "there is no login for it", "refused"},
		{"none for tokens", withTokens(secret), "", "", "", "there is no login for it", "refused"},
		{"wrong", basic, "user", "wrong", "", `the login of user "user" from the options is refused`, "there is no login"},
		{"wrong for tokens", withTokens(secret), "user", "wrong", "", `the login of user "user" from the options is refused`, "there is no login"},
		{"wrong in a file", basic, "", "", `{"username":"me","password":"wrong"}`, `the login of user "me" from "` + path + `" is refused`, "there is no login"},
		{"refresh token", withTokens(secret), "", "", `{"identitytoken":"wrong"}`, `the login from "` + path + `" is refused`, "there is no login"},
		{"right, and not enough", basic, "user", secret, "", `the login of user "user" from the options does not allow this in repository "app"`, "is refused"},
		{"another way", unknown, "user", secret, "", "no way to log in that is known", "is refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			reg := newFake(t, inProcess["cuelabs"](), true)
			reg.setHook(tt.hook)
			opts := reg.options()
			opts.Username, opts.Password, opts.AuthFiles = tt.user, tt.password, []string{path}
			if err := os.WriteFile(path, fmt.Appendf(nil, `{"auths":{%q:%s}}`, reg.host, cmp.Or(tt.file, "{}")), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Push(t.Context(), reg.host+"/app:1", newImage(), PushOptions{Options: opts})
			wantError(t, err, tt.want)
			if strings.Contains(err.Error(), tt.not) || strings.Contains(err.Error(), secret) {
				t.Errorf("error %q", err)
			}
		})
	}
}
