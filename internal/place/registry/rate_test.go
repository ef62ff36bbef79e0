package registry

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/compress"
)

// drip answers a byte at a time, often enough that the network is never silent.
func drip(contentType string, size int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(size))
		for range size {
			if _, err := w.Write([]byte(" ")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// TestDrip: a registry that is never silent, but sends a byte at a time, does
// not hold varve up, whatever it answers.
func TestDrip(t *testing.T) {
	layerPath := "/blobs/" + digest.FromString(bigLayer("big", pulledSize).text).String()
	for name, hook := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"layer":    answer(layerPath, drip("application/octet-stream", pulledSize)),
		"manifest": answer("/manifests/", drip(v1.MediaTypeImageManifest, 1<<20)),
		"ping": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				drip("text/plain", 1<<16)(w, r)
			}
			return r.URL.Path == "/v2/"
		},
		"error": answer("/manifests/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "60000")
			w.WriteHeader(http.StatusNotFound)
			drip("text/plain", 60000)(w, r)
		}),
		"token": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				drip("application/json", 1<<20)(w, r)
				return true
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := newFake(t, inProcess["go-containerregistry"](), true)
			mustPush(t, reg.host+"/app:1", pulledImage(), PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.None}})
			reg.setHook(hook)
			opts := reg.options()
			opts.StallTimeout, opts.Retries = 200*time.Millisecond, 1
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			start := time.Now()
			err := pull(ctx, reg.host+"/app:1", opts)
			if name == "ping" { // what its answer says does not count
				if err != nil {
					t.Error(err)
				}
			} else if name == "error" {
				wantError(t, err, "status 404")
			} else {
				wantError(t, err, "less than 4096 a second")
			}
			if took := time.Since(start); took > soon {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestSlowUpload: a registry may take time, but not read a little at a time, and
// the time that it has for checking does not count for sending.
func TestSlowUpload(t *testing.T) {
	const minute = time.Minute
	for _, tt := range []struct {
		name          string
		piece         int // is taken
		every         time.Duration
		patience, end time.Duration // the answer comes so long after the last piece
		want          string
	}{
		{"a little at a time", 100, 10 * time.Second, 0, 0, "less than 4096 a second"},
		{"with patience for its end", 100, 29 * time.Second, 5 * minute, 0, "less than 4096 a second"},
		{"silent in the middle", 1 << 19, 31 * time.Second, 5 * minute, 0, errStalled.Error()},
		{"silent at the end", 1 << 20, time.Second, 0, 31 * time.Second, errStalled.Error()},
		{"checking", 1 << 20, time.Second, 5 * minute, 298 * time.Second, ""},
		{"checking for ever", 1 << 20, time.Second, 5 * minute, 301 * time.Second, errStalled.Error()},
		{"slow", 100 << 10, 20 * time.Second, 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dog := newWatchdog(t.Context(), Options{}, tt.patience)
				defer dog.stop()
				r := (&outgoing{dog: dog, body: bytesPayload(make([]byte, 1<<20))}).reader()
				start := time.Now()
				for err := error(nil); err == nil && dog.ctx.Err() == nil; time.Sleep(tt.every) {
					_, err = r.Read(make([]byte, tt.piece))
				}
				time.Sleep(tt.end)
				if tt.want == "" {
					if err := context.Cause(dog.ctx); err != nil {
						t.Error(err)
					}
					return
				}
				wantError(t, context.Cause(dog.ctx), tt.want)
				if took := time.Since(start) - tt.end; took > 3*minute {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestSlowEnough: a transfer that is slow, but not too slow, succeeds.
func TestSlowEnough(t *testing.T) {
	text := bigLayer("big", pulledSize).text
	reg := newFake(t, inProcess["go-containerregistry"](), true)
	mustPush(t, reg.host+"/app:1", pulledImage(), PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: compress.None}})
	reg.setHook(answer("/blobs/"+digest.FromString(text).String(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		for n := 0; n < len(text); n += 1 << 18 { // about 1 s, many times the span
			_, _ = io.WriteString(w, text[n:min(n+1<<18, len(text))])
			w.(http.Flusher).Flush()
			time.Sleep(80 * time.Millisecond)
		}
	}))
	opts := reg.options()
	opts.StallTimeout, opts.Retries = 200*time.Millisecond, -1
	if err := pull(t.Context(), reg.host+"/app:1", opts); err != nil {
		t.Error(err)
	}
}
