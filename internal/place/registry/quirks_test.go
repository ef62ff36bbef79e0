package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/enginetest"
)

// quirk is a way in which a registry, or a proxy in front of it, answers differently than the
// registry in the test.
type quirk struct {
	name string
	wrap func(next http.Handler) http.Handler
	// refuses says that it has to refuse something of a large layer.
	refuses bool
}

// refuse answers what matches with a status and an error.
func refuseWith(status int, code string, matches func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/blobs/uploads/") || !matches(r) {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"refused"}]}`, code)
		})
	}
}

func is(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method }
}

func withBody(r *http.Request) bool   { return r.ContentLength != 0 }
func withRange(r *http.Request) bool  { return r.Header.Get("Content-Range") != "" }
func withLength(r *http.Request) bool { return r.ContentLength >= 0 }

// rangeOf returns a request's Content-Range.
func rangeOf(r *http.Request) (from, to int64) {
	if n, err := fmt.Sscanf(r.Header.Get("Content-Range"), "%d-%d", &from, &to); n != 2 || err != nil {
		return 0, -1
	}
	return from, to
}

// limiting is a proxy that refuses bodies of more than a quarter of a chunk, at once if they
// state their length, and otherwise when it has seen that much.
func limiting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var kept bytes.Buffer
		n, limit := r.ContentLength, int64(chunkSize)/4
		if n < 0 {
			n, _ = io.CopyN(&kept, r.Body, limit+1)
			r.Body = io.NopCloser(&kept)
		}
		if n > limit {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// smallRanges refuses ranges of more than a part of a chunk.
func smallRanges(part int64) func(http.Handler) http.Handler {
	return refuseWith(http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", func(r *http.Request) bool {
		return is(http.MethodPatch)(r) && withRange(r) && r.ContentLength > int64(chunkSize)/part
	})
}

// session is the state of an upload to a registry with a quirk.
type session struct {
	first, end int64
	patches    int
}

// sessions passes the upload's state so far to a handler of PATCH and GET. The registries in the
// tests keep an upload's address, except its query.
func sessions(handle func(s *session, next http.Handler, w http.ResponseWriter, r *http.Request)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		var mu sync.Mutex
		all := map[string]*session{}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/blobs/uploads/") || r.Method != http.MethodPatch && r.Method != http.MethodGet {
				next.ServeHTTP(w, r)
				return
			}
			mu.Lock()
			s := all[r.URL.Path]
			if s == nil {
				s = &session{}
				all[r.URL.Path] = s
			}
			mu.Unlock()
			handle(s, next, w, r)
		})
	}
}

// stuckRange takes each chunk, answers 201 and says where the first one ended; it
// does not take a chunk again, and knows nothing of uploads that it is asked about.
func stuckRange(s *session, next http.Handler, w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	from, to := rangeOf(r)
	if withRange(r) && from != s.end {
		w.Header().Set("Range", fmt.Sprintf("0-%d", s.first-1))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	if rec.Code < 300 {
		rec.Code = http.StatusCreated
		s.end = to + 1
		if s.patches++; s.patches == 1 {
			s.first = s.end
		}
		if withRange(r) {
			rec.Header().Set("Range", fmt.Sprintf("0-%d", s.first-1))
		}
	}
	relay(w, rec)
}

func relay(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// dropping accepts what matches, and keeps nothing of it.
func dropping(matches func(*session, *http.Request) bool) func(http.Handler) http.Handler {
	return sessions(func(s *session, next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || !matches(s, r) {
			s.patches++
			next.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", r.URL.String())
		w.WriteHeader(http.StatusAccepted)
	})
}

// The first six quirks are those that users met; the others are similar.
var quirks = []quirk{
	{"416 to a range of more than 4 MiB", smallRanges(1), false},
	{"201 and the first range", sessions(stuckRange), false},
	{"later ranges are dropped", dropping(func(_ *session, r *http.Request) bool { from, _ := rangeOf(r); return from > 0 }), false},
	{"404 to a PUT with a body", refuseWith(http.StatusNotFound, "BLOB_UNKNOWN", func(r *http.Request) bool { return is(http.MethodPut)(r) && withBody(r) }), false},
	{"413 over 1 MiB", limiting, true},
	{"405 to PATCH", refuseWith(http.StatusMethodNotAllowed, "UNSUPPORTED", is(http.MethodPatch)), true},
	{"404 to PATCH", refuseWith(http.StatusNotFound, "NOT_FOUND", is(http.MethodPatch)), true},
	{"411 without a length", refuseWith(http.StatusLengthRequired, "", func(r *http.Request) bool { return !withLength(r) }), false},
	{"400 without a range", refuseWith(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", func(r *http.Request) bool { return is(http.MethodPatch)(r) && !withRange(r) }), true},
	{"400 with a range", refuseWith(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", withRange), false},
	{"417 to a question", func(next http.Handler) http.Handler {
		return refuseWith(http.StatusExpectationFailed, "", func(r *http.Request) bool { return r.Header.Get("Expect") != "" })(next)
	}, true},
}

// maxRequests limits the requests of any push of two layers, one of them large.
const maxRequests = 120

// quirkCounter counts the requests to a registry.
type quirkCounter struct {
	next http.Handler
	mu   sync.Mutex
	quirkCounts
}

// totals is how much has come so far.
func (c *quirkCounter) totals() quirkCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.quirkCounts
	now.refused = slices.Clone(now.refused)
	return now
}

type quirkCounts struct {
	// requests is how many there were; what comes after maxRequests is denied, so
	// that a push without an end has one.
	requests int
	// read is bytes of bodies, refused what was answered with a 4xx.
	read    int64
	refused []string
}

func (c *quirkCounter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.requests++
	denied := c.requests > maxRequests
	c.mu.Unlock()
	if denied {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	// What the request is, whatever the session's address.
	path, query := r.URL.Path, r.URL.Query().Get("digest")
	if at := strings.Index(path, "/uploads/"); at >= 0 {
		path = path[:at]
	}
	what := fmt.Sprintf("%s %s %s %d bytes, range %q, expect %q", r.Method, path, query, r.ContentLength, r.Header.Get("Content-Range"), r.Header.Get("Expect"))
	r.Body = &countedBody{r.Body, c}
	rec := &statusWriter{ResponseWriter: w}
	c.next.ServeHTTP(rec, r)
	if rec.status >= 400 && rec.status < 500 && r.Method != http.MethodHead && r.Method != http.MethodGet {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refused = append(c.refused, what)
	}
}

type countedBody struct {
	io.ReadCloser
	c *quirkCounter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.c.read += int64(n)
	return n, err
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// sameLayers fails unless the layers have the same contents.
func sameLayers(t *testing.T, got, want []image.Layer) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		a, err := got[i].Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := want[i].Info(t.Context())
		if err != nil || a.DiffID != b.DiffID || a.Size != b.Size {
			t.Errorf("layer %d is %+v, want %+v, %v", i, a, b, err)
		}
	}
}

// quirkyImage has a large layer and a small one.
func quirkyImage() *image.Built {
	return newImage(bigLayer("large", 20<<20), bigLayer("small", 200<<10))
}

// pushQuirky pushes the image and reads it again.
func pushQuirky(t *testing.T, handler http.Handler, img image.Image, c compress.Compression, all ...quirk) (quirkCounts, error) {
	t.Helper()
	if _, here := img.Layers()[0].(textLayer); here { // otherwise its source has connections of its own
		noLeaks(t)
	}
	for _, q := range all {
		handler = q.wrap(handler)
	}
	counter := &quirkCounter{next: handler}
	reg := newFake(t, counter, false)
	opts := PushOptions{Options: reg.options(), Compression: c}
	_, err := Push(t.Context(), reg.host+"/app:1", img, opts)
	count := counter.totals()
	if count.requests > maxRequests {
		t.Fatalf("more than %d requests, with %d bytes: %v", maxRequests, count.read, err)
	}
	slices.Sort(count.refused)
	for i, what := range count.refused {
		if i > 0 && what == count.refused[i-1] {
			t.Errorf("refused twice: %s", what)
		}
	}
	if err != nil {
		return count, err
	}
	got, err := Open(t.Context(), reg.host+"/app:1", reg.options())
	if err != nil {
		t.Fatal(err)
	}
	sameLayers(t, got.Layers(), img.Layers())
	return count, nil
}

// TestQuirks: layers arrive at registries with any of the known quirks, and with two at once. No
// refused request is sent again, and where nothing has to be refused nothing is sent twice.
func TestQuirks(t *testing.T) {
	fullChunks(t)
	img := quirkyImage()
	for i, a := range quirks {
		testQuirks(t, img, compress.Gzip, a)
		for j, b := range quirks[i+1:] {
			if i+1+j < 6 || strings.HasPrefix(a.name, "413") {
				testQuirks(t, img, compress.None, a, b)
			}
		}
	}
}

// TestQuirksStored: so do layers whose digests are known before.
func TestQuirksStored(t *testing.T) {
	fullChunks(t)
	from := newFake(t, inProcess["cuelabs"](), false)
	mustPush(t, from.host+"/from:1", quirkyImage(), PushOptions{Options: from.options(), Compression: compress.Compression{Algorithm: compress.None}})
	stored, err := Open(t.Context(), from.host+"/from:1", from.options())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range quirks {
		testQuirks(t, stored, compress.Gzip, q)
	}
}

// fullChunks makes chunks as large as they are outside tests.
func fullChunks(t *testing.T) {
	was := chunkSize
	chunkSize = 4 << 20
	t.Cleanup(func() { chunkSize = was })
}

func testQuirks(t *testing.T, img image.Image, algorithm compress.Algorithm, all ...quirk) {
	names := make([]string, len(all))
	refuses := false
	for i, q := range all {
		names[i], refuses = q.name, refuses || q.refuses
	}
	name := strings.Join(names, ", ")
	t.Run(name, func(t *testing.T) {
		count, err := pushQuirky(t, inProcess["cuelabs"](), img, compress.Compression{Algorithm: algorithm}, all...)
		if impossible(name) {
			wantError(t, err, "in no form; ", "status 413", "status 4")
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d bytes; refused %q", count.read, count.refused)
		if size := int64(20<<20 + 200<<10); !refuses && count.read > size*12/10 {
			t.Errorf("%d bytes were sent, of %d", count.read, size)
		}
	})
}

// impossible reports whether there is no way at all: no request may have the whole layer, and
// none a part of it, or none that the registry in the test knows.
func impossible(name string) bool {
	return strings.Contains(name, "413") && (strings.Contains(name, "to PATCH") || strings.Contains(name, "later ranges") || strings.Contains(name, "with a range"))
}

// TestQuirksAppended: Docker's registry accepts parts of a layer without a range, where quirks
// prevent other forms.
func TestQuirksAppended(t *testing.T) {
	fullChunks(t)
	host := enginetest.Registry(t)
	for _, q := range quirks {
		if !strings.Contains(q.name, "later ranges") && !strings.Contains(q.name, "with a range") {
			continue
		}
		t.Run(q.name, func(t *testing.T) {
			before := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = "http", host // its addresses are the proxy's
			}}
			img := newImage(bigLayer("large"+q.name, 20<<20), bigLayer("small"+q.name, 200<<10))
			if _, err := pushQuirky(t, before, img, compress.Compression{Algorithm: compress.None}, q, quirks[4]); err != nil {
				t.Error(err)
			}
		})
	}
}
