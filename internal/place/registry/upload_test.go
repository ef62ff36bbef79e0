package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/layer"
)

// uploadedSize is two chunks and some more.
func uploadedSize() int { return 2*chunkSize + 12345 }

// TestResumeUpload: an upload goes on where it broke off if the registry
// knows where that is, and otherwise begins anew.
func TestResumeUpload(t *testing.T) {
	img := newImage(bigLayer("big", uploadedSize()))
	for _, tt := range []struct {
		name, registry string
		// fault answers a request of the upload of the layer, the nth of a method; it returns
		// false to let the registry answer.
		fault          fault
		patches, posts int // with those of the config
		err            string
	}{
		{"half of it", "cuelabs", halfOf(1), 4, 2, ""},
		{"its answer", "cuelabs", func(h http.Handler, _ http.ResponseWriter, r *http.Request, n int32) bool {
			if r.Method != http.MethodPatch || n != 1 {
				return false
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}, 2, 2, ""},
		{"all of it, no status", "go-containerregistry", breaking(1), 3, 3, ""},
		{"all of it twice, then in chunks", "go-containerregistry", breaking(2), 6, 4, ""},
		{"busy", "cuelabs", answering(http.StatusTooManyRequests, 1, 2), 4, 4, ""},
		{"not found", "cuelabs", answering(http.StatusNotFound, 1, 1), 5, 3, ""},
		{"half of a chunk", "cuelabs", both(answering(http.StatusBadRequest, 1, 1), halfOf(3)), 6, 3, ""},
		{"a chunk is busy", "cuelabs", both(answering(http.StatusBadRequest, 1, 1), answering(http.StatusTooManyRequests, 3, 4)), 7, 3, ""},
		{"a chunk is not found", "cuelabs", both(answering(http.StatusBadRequest, 1, 1), answering(http.StatusNotFound, 3, 3)), 3, 4, ""},
		{"the answer to the end", "cuelabs", func(h http.Handler, _ http.ResponseWriter, r *http.Request, n int32) bool {
			if r.Method != http.MethodPut || n != 1 {
				return false
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}, 2, 2, ""},
		{"every time", "cuelabs", answering(http.StatusBadGateway, 1, 99), 4, 4, "status 502"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			reg := newFake(t, inProcess[tt.registry](), true)
			var patches, puts atomic.Int32
			reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case !strings.Contains(r.URL.Path, "/blobs/uploads/"):
					return false
				case r.Method == http.MethodPatch:
					return tt.fault(reg.Handler, w, r, patches.Add(1))
				case r.Method == http.MethodPut && r.ContentLength == 0:
					return tt.fault(reg.Handler, w, r, puts.Add(1))
				}
				return tt.fault(reg.Handler, w, r, 0)
			})
			opts := PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.None}}
			_, err := Push(t.Context(), reg.host+"/app:1", img, opts)
			if n := reg.count("PATCH", ""); n != tt.patches {
				t.Errorf("%d PATCHes were sent, want %d", n, tt.patches)
			}
			if n := reg.count("POST", ""); tt.err == "" && n != tt.posts {
				t.Errorf("%d uploads were begun, want %d", n, tt.posts)
			}
			if tt.err != "" {
				wantError(t, err, tt.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := Open(t.Context(), reg.host+"/app:1", reg.options())
			if err != nil {
				t.Fatal(err)
			}
			wantLayers(t, got, img.Layers())
		})
	}
}

// fault is a case of TestResumeUpload.
type fault = func(h http.Handler, w http.ResponseWriter, r *http.Request, n int32) bool

// halfOf passes half a chunk of the nth PATCH to the registry, and returns no answer.
func halfOf(nth int32) fault {
	return func(h http.Handler, _ http.ResponseWriter, r *http.Request, n int32) bool {
		if r.Method != http.MethodPatch || n != nth {
			return false
		}
		r.Body = io.NopCloser(io.LimitReader(r.Body, int64(chunkSize)/2))
		r.Header.Del("Content-Range") // it does not say what comes now
		h.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
}

// breaking breaks off the first PATCHes, of a registry that does not say where an upload is.
func breaking(last int32) fault {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request, n int32) bool {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		if r.Method != http.MethodPatch || n > last {
			return false
		}
		panic(http.ErrAbortHandler)
	}
}

// answering answers some of the PATCHes.
func answering(status int, first, last int32) fault {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request, n int32) bool {
		if r.Method != http.MethodPatch || n < first || n > last {
			return false
		}
		w.WriteHeader(status)
		return true
	}
}

func both(a, b fault) fault {
	return func(h http.Handler, w http.ResponseWriter, r *http.Request, n int32) bool {
		return a(h, w, r, n) || b(h, w, r, n)
	}
}

func TestHostileUpload(t *testing.T) {
	other := newFake(t, http.NotFoundHandler(), true)
	location := func(to string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			w.Header().Set("Location", strings.ReplaceAll(to, "HOST", r.Host))
			w.WriteHeader(http.StatusAccepted)
			return true
		}
	}
	for _, tt := range []struct {
		name string
		hook func(w http.ResponseWriter, r *http.Request) bool
		want string
	}{
		{"no location", location(""), "does not say where the upload goes on"},
		{"location in http", location("http://HOST/upload"), "does not use https"},
		{"location on another host, in http", location("http://example.com/upload"), "does not use https"},
		{"location on a loopback host", location("https://" + other.host + "/upload"), "of this machine or its link"},
		{"location of another kind", location("ftp://example.com/upload"), "does not use https"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				http.Redirect(w, r, "https://example.com/", http.StatusTemporaryRedirect)
			}
			return r.Method == http.MethodPut
		}, "refused to follow a redirect of a PUT"},
		{"manifest with another digest", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Docker-Content-Digest", digest.FromString("x").String())
				w.WriteHeader(http.StatusCreated)
				return true
			}
			return false
		}, "by the registry's Docker-Content-Digest"},
		{"denied", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"no\u001b[31m"}]}`)
			return true
		}, `"DENIED no\x1b[31m": without a login this is not allowed in repository "app"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			reg := newFake(t, inProcess["cuelabs"](), true)
			reg.setHook(tt.hook)
			_, err := Push(t.Context(), reg.host+"/app:1", newImage(), PushOptions{Options: reg.options()})
			wantError(t, err, tt.want)
		})
	}
	if n := other.count("", ""); n != 0 {
		t.Errorf("%d requests went to another host", n)
	}
}

// TestUploadElsewhere: an upload that goes on at another host, which the user
// has named here, has no Authorization there.
func TestUploadElsewhere(t *testing.T) {
	t.Run("token", func(t *testing.T) { uploadElsewhere(t, withTokens(secret)) })
	t.Run("password", func(t *testing.T) {
		uploadElsewhere(t, func(w http.ResponseWriter, r *http.Request) bool {
			if _, got, _ := r.BasicAuth(); got == secret {
				return false
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
	})
}

func uploadElsewhere(t *testing.T, login func(http.ResponseWriter, *http.Request) bool) {
	noLeaks(t)
	handler := inProcess["cuelabs"]()
	reg, other := newFake(t, handler, true), newFake(t, handler, true)
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		if login(w, r) {
			return true
		}
		if r.Method != http.MethodPost {
			return false
		}
		rec := httptest.NewRecorder()
		reg.Handler.ServeHTTP(rec, r)
		to, err := url.Parse(rec.Header().Get("Location"))
		if err != nil {
			t.Error(err)
		}
		to.Scheme, to.Host = "https", other.host
		w.Header().Set("Location", to.String()+"?signed=a%2fb")
		w.WriteHeader(http.StatusAccepted)
		return true
	})
	opts := reg.options()
	opts.Username, opts.Password, opts.InsecureHosts = "user", secret, []string{other.host}
	mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: opts})
	if other.count("PUT", "/uploads/") != 3 {
		t.Errorf("requests there: %q", other.requests)
	}
	for _, h := range other.headers {
		if h.Get("Authorization") != "" || h.Get("Cookie") != "" || h.Get("Referer") != "" {
			t.Errorf("headers there: %v", h)
		}
	}
}

func TestCancelPush(t *testing.T) {
	noLeaks(t)
	reg := newFake(t, inProcess["cuelabs"](), true)
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled time.Time
	reg.setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			cancelled = time.Now()
			cancel()
			_, _ = io.Copy(io.Discard, r.Body) // for the server to see the end of the connection
			<-r.Context().Done()
		}
		return false
	})
	_, err := Push(ctx, reg.host+"/app:1", newImage(bigLayer("big", uploadedSize())), PushOptions{Options: reg.options()})
	if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || took > time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

// TestSourceFails: an error of a layer is not blamed on the registry, not tried again, and
// leaves no manifest.
func TestSourceFails(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), true)
	// The error comes while the encoder still holds some megabytes, which then are not sent.
	img := newImage(changed{bigLayer("big", uploadedSize()+16<<20)})
	_, err := Push(t.Context(), reg.host+"/app:1", img, PushOptions{Options: reg.options()})
	var mismatch *layer.DigestError
	if !errors.As(err, &mismatch) {
		t.Errorf("error %v", err)
	}
	if posts, puts, gone := reg.count("POST", ""), reg.count("PUT", ""), reg.count("DELETE", ""); posts != 1 || puts != 0 || gone != 1 {
		t.Errorf("%d uploads begun, %d ended, %d given up", posts, puts, gone)
	}
}

// changed is a layer whose bytes are not those that were hashed.
type changed struct{ textLayer }

func (c changed) Write(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, c.text+"x")
	return err
}

func TestProxy(t *testing.T) {
	reg := newFake(t, inProcess["cuelabs"](), false)
	proxy := newFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "registry.example" {
			reg.Handler.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}), false)
	opts := Options{Sleep: noSleep, InsecureHosts: []string{"registry.example"}}
	opts.Proxy = func(*http.Request) (*url.URL, error) {
		return url.Parse(fmt.Sprintf("http://user:%s@%s", secret, proxy.host))
	}
	// The proxy refuses https, which is not a reason for http.
	_, err := Push(t.Context(), "registry.example/app:1", newImage(), PushOptions{Options: opts})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v", err)
	}
	if n := proxy.count("CONNECT", ""); n == 0 {
		t.Error("the proxy was not asked")
	}
}

func TestParseRange(t *testing.T) {
	for in, want := range map[string]int64{"0-0": 1, "0-99": 100, "bytes=0-9": 10, "": 0, "1-2": 0, "0--1": 0, "0-9223372036854775807": 0, "0-x": 0} {
		if got, ok := parseRange(in); got != want || ok != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", in, got, ok, want)
		}
	}
}

// deaf is a listener whose connections do not understand the question before a body.
type deaf struct{ net.Listener }

func (d deaf) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	return deafConn{c}, err
}

type deafConn struct{ net.Conn }

func (c deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if i := bytes.Index(p[:n], []byte("\r\nExpect:")); i >= 0 {
		p[i+2] = 'X'
	}
	return n, err
}

// TestUnasked: a registry that does not answer the question before a body is asked
// once, and not before every chunk.
func TestUnasked(t *testing.T) {
	noLeaks(t)
	rec := &recorder{Handler: quirks[8].wrap(inProcess["cuelabs"]())} // in chunks alone
	server := httptest.NewUnstartedServer(rec)
	server.Listener = deaf{server.Listener}
	server.Start()
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	opts := PushOptions{Options: Options{InsecureHosts: []string{host}}, Compression: compress.Compression{Algorithm: compress.None}}
	mustPush(t, host+"/app:1", newImage(bigLayer("big", 4*chunkSize)), opts)
	asked := 0
	for _, h := range rec.headers {
		if h.Get("Xxpect") != "" {
			asked++
		}
	}
	// The first request is refused, with or without the question.
	if asked == 0 || asked > 2 {
		t.Errorf("asked %d times in %q", asked, rec.requests)
	}
}
