package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/layer"
)

// pull opens an image and reads all its layers.
func pull(ctx context.Context, ref string, opts Options) error {
	img, err := Open(ctx, ref, opts)
	if err != nil {
		return err
	}
	for _, l := range img.Layers() {
		if err := l.Write(ctx, io.Discard); err != nil {
			return err
		}
	}
	return nil
}

// answer returns a hook that answers requests whose path holds a text.
func answer(path string, f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, path) {
			return false
		}
		f(w, r)
		return true
	}
}

// page answers with a body of some type.
func page(contentType, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// endless answers with zeros for as long as anybody reads.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", v1.MediaTypeImageManifest)
	for zeros := make([]byte, 1<<20); ; {
		if _, err := w.Write(zeros); err != nil {
			return
		}
	}
}

func redirect(to func(r *http.Request) string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to(r), http.StatusTemporaryRedirect) }
}

const pulledSize = 3 << 20

// pulledImage has one layer that is stored as it is.
func pulledImage() *image.Built { return newImage(bigLayer("big", pulledSize)) }

func TestHostilePull(t *testing.T) {
	layerText := bigLayer("big", pulledSize).text
	layerPath := "/blobs/" + digest.FromString(layerText).String()
	wrong := strings.Repeat("x", pulledSize)
	for _, tt := range []struct {
		name     string
		hook     func(reg *fakeRegistry) func(http.ResponseWriter, *http.Request) bool
		want     []string
		mismatch bool // a *layer.DigestError
	}{
		{name: "layer with another digest", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, page("application/octet-stream", wrong))
		}, mismatch: true},
		{name: "layer cut short for ever", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusOK) // no length: for HTTP it ends well
				_, _ = io.WriteString(w, layerText[:1000])
				w.(http.Flusher).Flush()
			})
		}, want: []string{"ended"}},
		{name: "layer too long", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, page("application/octet-stream", layerText+"x"))
		}, want: []string{"more than the 3145728 bytes"}},
		{name: "layer of another length", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, page("application/octet-stream", "short"))
		}, want: []string{"5 bytes are announced"}},
		{name: "endless layer", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, endless)
		}, want: []string{"more than the 3145728 bytes"}},
		{name: "page in place of a layer", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, page("text/html; charset=utf-8", "<html>log in"))
		}, want: []string{"page for a browser"}},
		{name: "endless manifest", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", endless)
		}, want: []string{"more than 8388608 bytes"}},
		{name: "page in place of a manifest", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", page("text/html", "<html>"))
		}, want: []string{"page for a browser"}},
		{name: "schema 1", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", page("application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[]}`))
		}, want: []string{"schema 1"}},
		{name: "manifest is another than stated", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Docker-Content-Digest", digest.FromString("x").String())
				page(v1.MediaTypeImageManifest, `{"schemaVersion":2}`)(w, r)
			})
		}, mismatch: true, want: []string{"Docker-Content-Digest"}},
		{name: "type is another than announced", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", page(v1.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"`+v1.MediaTypeImageManifest+`"}`))
		}, want: []string{"was announced as"}},
		{name: "huge config", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", page(v1.MediaTypeImageManifest, `{"schemaVersion":2,"config":{"mediaType":"`+v1.MediaTypeImageConfig+`","digest":"`+digest.FromString("x").String()+`","size":8388609},"layers":[]}`))
		}, want: []string{"8388609 bytes, more than"}},
		{name: "redirect to http", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, redirect(func(*http.Request) string { return "http://example.com/x" }))
		}, want: []string{"refused a redirect from https to http"}},
		{name: "redirect loop", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, redirect(func(r *http.Request) string { return r.URL.Path }))
		}, want: []string{"stopped after 10 redirects"}},
		{name: "redirect to link-local", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, redirect(func(*http.Request) string { return "https://169.254.169.254/latest" }))
		}, want: []string{"169.254.169.254", "of this machine or its link"}},
		{name: "redirect to loopback by name", hook: func(reg *fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer(layerPath, redirect(func(*http.Request) string {
				return "https://localhost" + reg.host[strings.LastIndexByte(reg.host, ':'):] + "/x"
			}))
		}, want: []string{"of this machine or its link"}},
		{name: "endless error", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusTeapot)
				endless(w, r)
			})
		}, want: []string{"status 418"}},
		{name: "unauthorized without a way", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		}, want: []string{"status 401", "no way to log in that is known"}},
		{name: "not found", hook: func(*fakeRegistry) func(http.ResponseWriter, *http.Request) bool {
			return answer("/manifests/", http.NotFound)
		}, want: []string{"status 404", "may need a login"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			reg := newFake(t, inProcess["go-containerregistry"](), true)
			mustPush(t, reg.host+"/app:1", pulledImage(), PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.None}})
			if err := pull(t.Context(), reg.host+"/app:1", reg.options()); err != nil {
				t.Fatal(err)
			}
			reg.setHook(tt.hook(reg))
			start := time.Now()
			err := pull(t.Context(), reg.host+"/app:1", reg.options())
			wantError(t, err, tt.want...)
			var mismatch *layer.DigestError
			if tt.mismatch != errors.As(err, &mismatch) {
				t.Errorf("error %v: digest error %v, want %v", err, mismatch, tt.mismatch)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestPinned: what a digest names is never anything else.
func TestPinned(t *testing.T) {
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	d := mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: reg.options()})
	reg.setHook(answer("/manifests/", page(v1.MediaTypeImageManifest, `{"schemaVersion":2,"config":{},"layers":[]}`)))
	var mismatch *layer.DigestError
	if err := pull(t.Context(), reg.host+"/app:1@"+d.String(), reg.options()); !errors.As(err, &mismatch) {
		t.Errorf("error %v", err)
	}
}

func TestHugeIndex(t *testing.T) {
	entry := `{"mediaType":"` + v1.MediaTypeImageManifest + `","digest":"` + digest.FromString("x").String() + `","size":1}`
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	for name, body := range map[string]string{
		"more than 8388608 bytes":  strings.Repeat(entry+",", 100_000) + entry,
		"10001 of them, more than": strings.Repeat(entry+",", 10_000) + entry,
	} {
		reg.setHook(answer("/manifests/", page(v1.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[`+body+`]}`)))
		wantError(t, pull(t.Context(), reg.host+"/app:1", reg.options()), name)
	}
	// An index that nests without end, each with a digest of its own.
	indexes := []string{`{"schemaVersion":2,"manifests":[` + entry + `]}`}
	for i := range 6 {
		below := indexes[i]
		indexes = append(indexes, fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
			v1.MediaTypeImageIndex, digest.FromString(below), len(below)))
	}
	reg.setHook(answer("/manifests/", func(w http.ResponseWriter, r *http.Request) {
		body := indexes[6]
		for _, index := range indexes {
			if strings.HasSuffix(r.URL.Path, digest.FromString(index).String()) {
				body = index
			}
		}
		page(v1.MediaTypeImageIndex, body)(w, r)
	}))
	wantError(t, pull(t.Context(), reg.host+"/app:1", reg.options()), "nested deeper")
}

// breakingBlob answers requests for a layer like a server that loses
// connections: each answer sends a part and then resets.
func breakingBlob(text string, part int, ranges bool) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && ranges {
			from, _ = strconv.Atoi(strings.TrimSuffix(spec, "-"))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(text)-1, len(text)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(text)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		end := min(len(text), from+part)
		_, _ = io.WriteString(w, text[from:end])
		if end < len(text) {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

func TestResumeDownload(t *testing.T) {
	text := bigLayer("big", pulledSize).text
	path := "/blobs/" + digest.FromString(text).String()
	var calls atomic.Int32
	for name, tt := range map[string]struct {
		serve    func(http.ResponseWriter, *http.Request)
		err      string
		requests int
	}{
		"ranges": {breakingBlob(text, 1<<20, true), "", 3},
		"range ignored": {func(w http.ResponseWriter, r *http.Request) {
			breakingBlob(text, int(calls.Add(1))<<20, false)(w, r)
		}, "", 3},
		"not satisfiable": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			breakingBlob(text, int(calls.Add(1))<<20, false)(w, r)
		}, "", 4},
		"nothing satisfiable": {func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) > 1 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			breakingBlob(text, 1<<20, true)(w, r)
		}, "status 416", 3},
		"another range": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=5-")
			}
			breakingBlob(text, 1<<20, true)(w, r)
		}, "the registry sent the range", 2},
		"another blob after the break": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				breakingBlob(text, 1<<20, true)(w, r)
				return
			}
			breakingBlob(strings.Repeat("x", len(text)), len(text), true)(w, r)
		}, "digest is", 2},
		"no progress": {breakingBlob(text, 0, true), "EOF", 4},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			calls.Store(0)
			reg := newFake(t, inProcess["go-containerregistry"](), true)
			mustPush(t, reg.host+"/app:1", pulledImage(), PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.None}})
			reg.setHook(answer(path, tt.serve))
			reg.reset()
			err := pull(t.Context(), reg.host+"/app:1", reg.options())
			if tt.err == "" && err != nil {
				t.Error(err)
			} else if tt.err != "" {
				wantError(t, err, tt.err)
			}
			if n := reg.count("GET", path); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}

// TestTrickle: a registry that sends a little with each connection does not hold
// varve up forever.
func TestTrickle(t *testing.T) {
	text := bigLayer("big", pulledSize).text
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	mustPush(t, reg.host+"/app:1", pulledImage(), PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.None}})
	reg.reset()
	reg.setHook(answer("/blobs/"+digest.FromString(text).String(), breakingBlob(text, 100, true)))
	wantError(t, pull(t.Context(), reg.host+"/app:1", reg.options()), "EOF")
	if n := reg.count("GET", "/blobs/"); n > 10 {
		t.Errorf("%d requests", n)
	}
}

func TestStallAndCancel(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(pulledSize))
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	path := "/blobs/" + digest.FromString(bigLayer("big", pulledSize).text).String()
	prepare := func(t *testing.T) *fakeRegistry {
		noLeaks(t)
		reg := newFake(t, inProcess["go-containerregistry"](), true)
		mustPush(t, reg.host+"/app:1", pulledImage(), PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.None}})
		reg.setHook(answer(path, hang))
		return reg
	}
	t.Run("stall", func(t *testing.T) {
		reg := prepare(t)
		opts := reg.options()
		opts.StallTimeout = 100 * time.Millisecond
		wantError(t, pull(t.Context(), reg.host+"/app:1", opts), "too long")
		if n := reg.count("GET", path); n != opts.Retries+1 {
			t.Errorf("%d requests, want %d", n, opts.Retries+1)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		reg := prepare(t)
		ctx, cancel := context.WithCancel(t.Context())
		var cancelled time.Time
		time.AfterFunc(200*time.Millisecond, func() { cancelled = time.Now(); cancel() })
		err := pull(ctx, reg.host+"/app:1", reg.options())
		if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || took > time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
	t.Run("cancel while waiting", func(t *testing.T) {
		reg := prepare(t)
		reg.setHook(answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		opts := reg.options()
		opts.Sleep = nil
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := pull(ctx, reg.host+"/app:1", opts)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
	t.Run("slow reader", func(t *testing.T) {
		reg := prepare(t)
		reg.setHook(nil)
		opts := reg.options()
		opts.StallTimeout = 200 * time.Millisecond
		img, err := Open(t.Context(), reg.host+"/app:1", opts)
		if err != nil {
			t.Fatal(err)
		}
		r, err := img.StoredLayers()[0].OpenStored(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		reg.reset()
		_, err = io.ReadFull(r, make([]byte, 10))
		time.Sleep(500 * time.Millisecond)
		if _, readErr := io.Copy(io.Discard, r); err != nil || readErr != nil {
			t.Error(err, readErr)
		}
		if n := reg.count("GET", ""); n != 0 {
			t.Errorf("%d more requests", n)
		}
	})
}

// TestRetry: after transient faults there is another try as the registry asks,
// within limits.
func TestRetry(t *testing.T) {
	for _, tt := range []struct {
		name    string
		status  int
		header  http.Header
		fails   int32
		waits   []time.Duration // the least of each; nil means no retry
		wantErr string
	}{
		{"busy", http.StatusTooManyRequests, http.Header{"Retry-After": {"7"}}, 2, []time.Duration{7 * time.Second, 7 * time.Second}, ""},
		{"down", http.StatusBadGateway, nil, 1, []time.Duration{125 * time.Millisecond}, ""},
		{"for a year", http.StatusServiceUnavailable, http.Header{"Retry-After": {"31536000"}}, 1, []time.Duration{time.Minute}, ""},
		{"until a time", http.StatusServiceUnavailable, http.Header{"Date": {"Mon, 02 Jan 2006 15:04:05 GMT"}, "Retry-After": {"Mon, 02 Jan 2006 15:04:25 GMT"}}, 1, []time.Duration{20 * time.Second}, ""},
		{"down for good", http.StatusInternalServerError, nil, 99, []time.Duration{125 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond}, "status 500"},
		{"never", http.StatusForbidden, nil, 1, nil, "status 403"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := newFake(t, inProcess["go-containerregistry"](), true)
			mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: reg.options()})
			var failed atomic.Int32
			reg.setHook(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") || failed.Add(1) > tt.fails {
					return false
				}
				for key, values := range tt.header {
					w.Header()[key] = values
				}
				w.WriteHeader(tt.status)
				return true
			})
			opts := reg.options()
			var waits []time.Duration
			opts.Sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
			err := pull(t.Context(), reg.host+"/app:1", opts)
			if tt.wantErr == "" && err != nil {
				t.Error(err)
			} else if tt.wantErr != "" {
				wantError(t, err, tt.wantErr)
			}
			if len(waits) != len(tt.waits) {
				t.Fatalf("waits %v, want %v", waits, tt.waits)
			}
			for i, w := range waits {
				if w < tt.waits[i] || w > max(2*tt.waits[i], maxWait) || w > maxWait {
					t.Errorf("wait %d is %v, want about %v", i, w, tt.waits[i])
				}
			}
		})
	}
}

// TestNoFallback: http is only for hosts that were named.
func TestNoFallback(t *testing.T) {
	reg := newFake(t, inProcess["go-containerregistry"](), false)
	opts := reg.options()
	mustPush(t, reg.host+"/app:1", newImage(), PushOptions{Options: opts})
	opts.InsecureHosts = nil
	reg.reset()
	wantDistrust(t, pull(t.Context(), reg.host+"/app:1", opts), reg.host, DistrustAnswer)
	opts.InsecureHosts = []string{"other:5000", "127.0.0.2"}
	wantDistrust(t, pull(t.Context(), reg.host+"/app:1", opts), reg.host, DistrustAnswer)
	if n := reg.count("", ""); n != 0 {
		t.Errorf("%d requests came through", n)
	}
	opts.InsecureHosts = []string{"127.0.0.1"}
	if err := pull(t.Context(), reg.host+"/app:1", opts); err != nil {
		t.Error(err)
	}
	secure := newFake(t, inProcess["go-containerregistry"](), true)
	mustPush(t, secure.host+"/app:1", newImage(), PushOptions{Options: secure.options()})
	unverified := Options{Sleep: noSleep}
	wantDistrust(t, pull(t.Context(), secure.host+"/app:1", unverified), secure.host, DistrustCertificate)
	unverified.InsecureHosts = []string{secure.host}
	if err := pull(t.Context(), secure.host+"/app:1", unverified); err != nil {
		t.Error(err)
	}
}
