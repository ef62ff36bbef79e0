package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/enginetest"
)

// soon limits how long something promised within a second may take: machines may
// be busy.
const soon = 10 * time.Second

// TestUploadsAtOnce: as many layers are sent at the same time as intended, and
// no more.
func TestUploadsAtOnce(t *testing.T) {
	var layers []image.Layer
	for i := range 3 * uploads {
		layers = append(layers, textLayer{"a", fmt.Sprint("layer ", i)})
	}
	reg := newFake(t, inProcess["cuelabs"](), true)
	var mu sync.Mutex
	now, most := 0, 0
	together := make(chan struct{})
	reg.setHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		mu.Lock()
		now++
		if most = max(most, now); now == uploads && most == uploads {
			select {
			case <-together:
			default:
				close(together)
			}
		}
		mu.Unlock()
		select {
		case <-together:
		case <-time.After(5 * time.Second): // the test fails below
		}
		mu.Lock()
		now--
		mu.Unlock()
		return false
	})
	mustPush(t, reg.host+"/app:1", newImage(layers...), PushOptions{Options: reg.options()})
	if most != uploads {
		t.Errorf("at most %d uploads at once, want %d", most, uploads)
	}
}

// TestHang: wherever the network falls silent, a push ends soon after it is
// cancelled, and by itself when nothing has happened for long enough.
func TestHang(t *testing.T) {
	for _, tt := range []struct{ name, method, path string }{
		{"ping", "GET", "/v2/"},
		{"token", "GET", "/token"},
		{"is it there", "HEAD", "/blobs/"},
		{"beginning", "POST", "/uploads/"},
		{"chunk", "PATCH", "/uploads/"},
		{"end", "PUT", "/uploads/"},
		{"manifest", "PUT", "/manifests/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			reg := newFake(t, inProcess["cuelabs"](), true)
			over := make(chan struct{})
			t.Cleanup(func() { close(over) })
			tokens := withTokens("")
			var hanging atomic.Pointer[context.CancelFunc]
			reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != tt.method || !strings.Contains(r.URL.Path, tt.path) || tt.name == "ping" && r.URL.Path != tt.path {
					return tokens(w, r)
				}
				if tt.name != "ping" && tt.name != "token" && tokens(w, r) {
					return true
				}
				if cancel := hanging.Load(); cancel != nil {
					(*cancel)()
				}
				<-over // with the body left alone the server cannot see that the client has gone
				panic(http.ErrAbortHandler)
			})
			img := newImage(bigLayer("big", chunkSize+1))
			opts := PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.None}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var cancelled time.Time
			stop := context.CancelFunc(func() { cancelled = time.Now(); cancel() })
			hanging.Store(&stop)
			_, err := Push(ctx, reg.host+"/app:1", img, opts)
			if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || cancelled.IsZero() || took > soon {
				t.Errorf("%v after %v", err, took)
			}
			hanging.Store(nil)
			opts.StallTimeout, opts.Retries = 50*time.Millisecond, -1
			_, err = Push(t.Context(), reg.host+"/app:1", img, opts)
			wantError(t, err, "too long")
		})
	}
}

// TestSilentHost: a host that accepts connections and says nothing, and may also
// be the proxy.
func TestSilentHost(t *testing.T) {
	noLeaks(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	host := silent.Addr().String()
	for name, opts := range map[string]Options{
		"registry": {InsecureHosts: []string{host}},
		"proxy":    {Proxy: func(*http.Request) (*url.URL, error) { return url.Parse("http://" + host) }},
	} {
		t.Run(name, func(t *testing.T) {
			ref := host + "/app:1"
			if name == "proxy" {
				ref = "registry.example/app:1"
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := Open(ctx, ref, opts)
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > soon {
				t.Errorf("%v after %v", err, took)
			}
			opts.StallTimeout, opts.Retries, opts.Sleep = 50*time.Millisecond, 1, noSleep
			_, err = Open(t.Context(), ref, opts)
			wantError(t, err, `GET "/v2/" at registry `)
		})
	}
}

// TestReset: every request of a push and of a pull is tried again when the
// connection breaks or the registry is busy, after the time that it asks for.
func TestReset(t *testing.T) {
	for _, tt := range []struct{ name, method, path string }{
		{"ping", "GET", "/v2/"},
		{"token", "GET", "/token"},
		{"is it there", "HEAD", "/blobs/"},
		{"beginning", "POST", "/uploads/"},
		{"chunk", "PATCH", "/uploads/"},
		{"end", "PUT", "/uploads/"},
		{"put manifest", "PUT", "/manifests/"},
		{"get manifest", "GET", "/manifests/"},
		{"get blob", "GET", "/blobs/sha256"},
	} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, ", busy: ", busy), func(t *testing.T) {
				noLeaks(t)
				reg := newFake(t, inProcess["cuelabs"](), true)
				tokens := withTokens("")
				var faults atomic.Int32
				reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == tt.method && strings.Contains(r.URL.Path, tt.path) && faults.Add(1) == 1 {
						if !busy {
							panic(http.ErrAbortHandler)
						}
						w.Header().Set("Retry-After", "9")
						w.WriteHeader(http.StatusServiceUnavailable)
						return true
					}
					return tokens(w, r)
				})
				opts := reg.options()
				var mu sync.Mutex
				var waits []time.Duration
				opts.Sleep = func(_ context.Context, d time.Duration) error {
					mu.Lock()
					defer mu.Unlock()
					waits = append(waits, d)
					return nil
				}
				img := newImage(bigLayer("big", chunkSize+1))
				mustPush(t, reg.host+"/app:1", img, PushOptions{Options: opts, Compression: compress.Compression{Algorithm: compress.None}})
				if err := pull(t.Context(), reg.host+"/app:1", opts); err != nil {
					t.Error(err)
				}
				// net/http itself may try again on a connection that it had used before.
				if busy && (len(waits) == 0 || waits[0] < 9*time.Second) || faults.Load() < 2 {
					t.Errorf("waits %v, %d requests", waits, faults.Load())
				}
			})
		}
	}
}

// TestTokenServerElsewhere: the password goes to the token server alone, and
// the token to the registry alone.
func TestTokenServerElsewhere(t *testing.T) {
	noLeaks(t)
	tokens := newFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "user" || password != secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"token":"the-token"}`)
	}), true)
	reg := newFake(t, inProcess["cuelabs"](), true)
	reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer the-token" {
			return false
		}
		w.Header().Set("WWW-Authenticate", bearer(tokens.host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	opts := reg.options()
	opts.Username, opts.Password, opts.InsecureHosts = "user", secret, []string{tokens.host}
	mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: opts})
	if err := pull(t.Context(), reg.host+"/app:1", opts); err != nil {
		t.Error(err)
	}
	for _, h := range reg.headers {
		if a := h.Get("Authorization"); a != "" && a != "Bearer the-token" {
			t.Errorf("the registry got %q", a)
		}
	}
	for _, h := range tokens.headers {
		if a := h.Get("Authorization"); strings.Contains(a, "the-token") {
			t.Errorf("the token server got %q", a)
		}
	}
	if tokens.count("GET", "/token") == 0 {
		t.Error("the token server was not asked")
	}
}

// TestProxied: https goes through the proxy, whose login goes no further.
func TestProxied(t *testing.T) {
	noLeaks(t)
	reg := newFake(t, inProcess["cuelabs"](), true)
	proxy := newFake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { enginetest.Tunnel(t, w, reg.host) }), false)
	opts := reg.options()
	opts.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://me:" + secret + "@" + proxy.host) }
	ref := "example.com/app:1" // what httptest's certificate is for, and the proxy alone leads to
	mustPush(t, ref, newImage(), PushOptions{Options: opts})
	if err := pull(t.Context(), ref, opts); err != nil {
		t.Error(err)
	}
	if reg.count("", "") == 0 || proxy.count("CONNECT", "") == 0 {
		t.Errorf("%d requests, %d tunnels", reg.count("", ""), proxy.count("CONNECT", ""))
	}
	for _, h := range reg.headers {
		if h.Get("Proxy-Authorization") != "" {
			t.Errorf("headers %v", h)
		}
	}
}
