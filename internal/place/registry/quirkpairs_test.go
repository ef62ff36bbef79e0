package registry

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/compress"
)

// losing keeps the first piece of an upload. It accepts what follows, and states in a Range what
// it has or, if it lies, what it should have; but it refuses what does not follow what it has.
func losing(lies bool) func(http.Handler) http.Handler {
	return sessions(func(s *session, next http.Handler, w http.ResponseWriter, r *http.Request) {
		from, _ := rangeOf(r)
		switch {
		case r.Method == http.MethodGet:
			next.ServeHTTP(w, r)
		case withRange(r) && from != s.end:
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		case s.end > 0:
			n, _ := io.Copy(io.Discard, r.Body)
			if !lies {
				n = 0
			}
			w.Header().Set("Location", r.URL.String())
			w.Header().Set("Range", fmt.Sprintf("0-%d", s.end+n-1))
			w.WriteHeader(http.StatusAccepted)
		default:
			body := &lengthReader{ReadCloser: r.Body}
			r.Body = body
			rec := &statusWriter{ResponseWriter: w}
			next.ServeHTTP(rec, r)
			if rec.status < 300 {
				s.end = body.n
			}
		}
	})
}

type lengthReader struct {
	io.ReadCloser
	n int64
}

func (r *lengthReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n += int64(n)
	return n, err
}

// disturbed answers every third PATCH of an upload with 503.
func disturbed(next http.Handler) http.Handler {
	return sessions(func(s *session, next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			s.patches++
		}
		if r.Method == http.MethodPatch && s.patches%3 == 0 {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})(next)
}

// rareQuirks are the quirks that are most likely to fail together with others.
var rareQuirks = []quirk{
	{"later pieces are lost", losing(false), false},
	{"later pieces are lost with a lie", losing(true), false},
	{"416 to a range of half a chunk", smallRanges(3), false},
	{"404 to a GET", refuseWith(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", is(http.MethodGet)), false},
	{"400 to a POST with a body", refuseWith(http.StatusBadRequest, "UNSUPPORTED", func(r *http.Request) bool { return is(http.MethodPost)(r) && withBody(r) }), false},
}

// TestQuirksTogether: whatever two or three ways a registry has, a push ends soon: it succeeds
// where the registry takes the layers in one request, and otherwise says what the registry said
// to each form.
func TestQuirksTogether(t *testing.T) {
	smallChunks(t)
	all := slices.Concat(quirks, rareQuirks)
	for i := range all {
		testTogether(t, all[i])
		for j := range all[:i] {
			testTogether(t, all[j], all[i])
			for k := range all[:j] {
				testTogether(t, all[k], all[j], all[i])
			}
		}
	}
}

// TestQuirksDisturbed: so do pushes to registries that fail now and then as well.
func TestQuirksDisturbed(t *testing.T) {
	smallChunks(t)
	all := slices.Concat(quirks, rareQuirks)
	for i := range all {
		for j := range all[:i+1] {
			testTogether(t, all[j], all[i], quirk{"503 to every third PATCH", disturbed, true})
		}
	}
}

// smallChunks makes chunks small, but large enough for pieces of them to be refused; layers of
// two are then below what servers are asked about first and cut connections for, which takes
// time.
func smallChunks(t *testing.T) {
	was := chunkSize
	chunkSize = 4 * minPiece
	t.Cleanup(func() { chunkSize = was })
}

func testTogether(t *testing.T, all ...quirk) {
	names := make([]string, len(all))
	for i, q := range all {
		names[i] = q.name
	}
	name := strings.Join(names, ", ")
	t.Run(name, func(t *testing.T) {
		large, small := 2*chunkSize, chunkSize/20
		img := newImage(bigLayer("large", large), bigLayer("small", small))
		count, err := pushQuirky(t, inProcess["cuelabs"](), img, compress.Compression{Algorithm: compress.None}, all...)
		if most := int64(forms+1) * int64(large+small); count.read > most {
			t.Errorf("%d bytes were sent, of %d", count.read, large+small)
		}
		inOne := !strings.Contains(name, "413") && !(strings.Contains(name, "to a PUT") && strings.Contains(name, "to a POST"))
		switch {
		case err == nil:
		case inOne:
			t.Error(err)
		case strings.Contains(name, "503") && statusOf(err) == http.StatusServiceUnavailable: // until the retries were used up
		default:
			wantError(t, err, "in no form; ")
		}
	})
}
