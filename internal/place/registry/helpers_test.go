package registry

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/layer"
)

// The tests send chunks often, so small ones are enough.
func init() { chunkSize = 1 << 20 }

// textLayer is a layer of some bytes.
type textLayer struct{ name, text string }

func (l textLayer) Title() string { return l.name }

func (l textLayer) Info(context.Context) (layer.Info, error) {
	return layer.Info{DiffID: digest.FromString(l.text), Size: int64(len(l.text))}, nil
}

func (l textLayer) Write(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, l.text)
	return err
}

// bigLayer has n bytes that do not compress.
func bigLayer(name string, n int) textLayer {
	content := make([]byte, n)
	state := uint64(len(name) + 1)
	for i := range content {
		state = state*6364136223846793005 + 1442695040888963407
		content[i] = byte(state >> 56)
	}
	return textLayer{name, string(content)}
}

func newImage(layers ...image.Layer) *image.Built { return image.New(describe(layers...)) }

// describe describes an image as newImage makes it.
func describe(layers ...image.Layer) image.Description {
	if layers == nil {
		base := textLayer{"base", "the base"}
		layers = []image.Layer{base, textLayer{"tool", strings.Repeat("tool", 1000)}, base}
	}
	return image.Description{
		Layers: layers, History: make([]image.History, len(layers)),
		Created: "1970-01-01T00:00:01Z", Architecture: "amd64", OS: "linux",
		Config: &ordjson.Object{Members: []ordjson.Member{{Key: "Cmd", Value: []any{"/bin/tool"}}}},
	}
}

// inProcess holds registries that run in the test.
var inProcess = map[string]func() http.Handler{
	"go-containerregistry": func() http.Handler {
		return ggcr.New(ggcr.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)))
	},
	"cuelabs": func() http.Handler { return ociserver.New(ocimem.New(), nil) },
}

// recorder is a registry's handler that records what it was asked, and lets a
// test answer instead of it.
type recorder struct {
	http.Handler
	mu       sync.Mutex
	requests []string
	headers  []http.Header
	// hook answers a request and returns true, or does not.
	hook func(w http.ResponseWriter, r *http.Request) bool
}

func (h *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r.Method+" "+r.URL.Path)
	h.headers = append(h.headers, r.Header.Clone())
	hook := h.hook
	h.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	h.Handler.ServeHTTP(w, r)
}

func (h *recorder) setHook(hook func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = hook
}

// count returns how many requests there were of a method, or of any where it is
// empty, for paths that hold a text.
func (h *recorder) count(method, path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, r := range h.requests {
		got, at, _ := strings.Cut(r, " ")
		if (method == "" || method == got) && strings.Contains(at, path) {
			n++
		}
	}
	return n
}

func (h *recorder) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests, h.headers = nil, nil
}

// fakeRegistry is a registry on a port of its own.
type fakeRegistry struct {
	*recorder
	server *httptest.Server
	host   string
	caFile string
}

func newFake(t testing.TB, handler http.Handler, useTLS bool) *fakeRegistry {
	t.Helper()
	rec := &recorder{Handler: handler}
	server := httptest.NewUnstartedServer(rec)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	f := &fakeRegistry{recorder: rec, server: server}
	if useTLS {
		server.StartTLS()
		f.caFile = filepath.Join(t.TempDir(), "ca.pem")
		block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
		if err := os.WriteFile(f.caFile, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		server.Start()
	}
	f.host = strings.TrimPrefix(strings.TrimPrefix(server.URL, "https://"), "http://")
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return f
}

// options talk to the registry without waiting between tries.
func (h *fakeRegistry) options() Options {
	o := Options{CAFile: h.caFile, Sleep: noSleep, StallTimeout: 5 * time.Second, Retries: 3}
	if h.caFile == "" {
		o.InsecureHosts = []string{h.host}
	}
	return o
}

func noSleep(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }

// mustPush pushes and returns the digest.
func mustPush(t testing.TB, ref string, img image.Image, opts PushOptions) digest.Digest {
	t.Helper()
	d, err := Push(t.Context(), ref, img, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

// wantLayers fails unless the image's layers have these contents.
func wantLayers(t testing.TB, got *image.Stored, want []image.Layer) {
	t.Helper()
	if len(got.Layers()) != len(want) {
		t.Fatalf("%d layers, want %d", len(got.Layers()), len(want))
	}
	for i, l := range got.Layers() {
		var b bytes.Buffer
		if err := l.Write(t.Context(), &b); err != nil {
			t.Errorf("layer %d: %v", i, err)
		} else if text := want[i].(textLayer).text; b.String() != text {
			t.Errorf("layer %d has %d bytes that differ from the %d", i, b.Len(), len(text))
		}
	}
}

// noLeaks fails if the test leaves goroutines behind. It has to be called
// before servers are started.
func noLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		var n int
		for range 100 {
			if n = runtime.NumGoroutine(); n <= before {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before:\n%s", n, before, stacks[:runtime.Stack(stacks, true)])
	})
}

// wantError fails unless err has all texts in it.
func wantError(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q, want %q in it", err, text)
		}
	}
}

// wantNoLogin checks for the error of a registry that wants a login.
func wantNoLogin(t testing.TB, err error, registry string) {
	t.Helper()
	wantError(t, err, "status 401", "there is no login for it")
	if login := new(LoginError); !errors.As(err, &login) || login.Registry != registry {
		t.Errorf("error %q is none of a login at %s", err, registry)
	}
}

// wantDistrust checks for the error of a host that was not trusted.
func wantDistrust(t testing.TB, err error, host string, reason Distrust) {
	t.Helper()
	if distrust := new(DistrustError); !errors.As(err, &distrust) || distrust.Host != host || distrust.Reason != reason {
		t.Errorf("error %v, want the distrust %d of %s", err, reason, host)
	}
}

func bearer(host string) string {
	return fmt.Sprintf(`Bearer realm="https://%s/token",service="s",scope="repository:app:pull"`, host)
}
