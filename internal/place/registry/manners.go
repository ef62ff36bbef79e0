package registry

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// form is a way to send a blob. Registries, and proxies in front of them, each refuse some.
type form int

// The forms in the order in which they are tried.
const (
	// streamed is Docker's way: one PATCH without ranges.
	streamed form = iota
	// chunked is PATCHes with a Content-Range each.
	chunked
	// whole is a PUT with the blob.
	whole
	// single is one POST with the blob.
	single
	// appended is PATCHes one after the other without a Content-Range.
	appended

	forms
)

func (f form) String() string {
	return [forms]string{
		streamed: "in one PATCH", chunked: "in chunks", whole: "in one PUT", single: "in one POST", appended: "in chunks without a range",
	}[f]
}

// patches reports whether a form needs PATCH, and pieces whether it sends a piece at a time, of
// any size.
func (f form) patches() bool { return f == streamed || f.pieces() }
func (f form) pieces() bool  { return f == chunked || f == appended }

// minPiece is the smallest piece that is tried, in bytes.
const minPiece = 16 << 10

// refusal is an answer that refuses a form.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// refused turns the answer to a blob, or a part of one, into a refusal if another form may get a
// different answer: the registry has accepted that we may write.
func refused(err error) error {
	switch s := statusOf(err); {
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusProxyAuthRequired,
		s == http.StatusRequestTimeout, s == http.StatusTooManyRequests:
		return err
	case s >= 400 && s < 500, s == http.StatusNotImplemented:
		return &refusal{err}
	}
	return err
}

// statusOf returns the status of the answer that an error is about, or 0.
func statusOf(err error) int {
	var status *statusError
	if errors.As(err, &status) {
		return status.status
	}
	return 0
}

// manners records what a registry has refused, so that no blob is sent in a way that failed for
// another.
type manners struct {
	mu      sync.Mutex
	refused [forms]error
	patch   error // set if PATCH is not supported
	// large is the size of the smallest body that was too large, in bytes; 0 means none.
	// tooLarge is the registry's error.
	large    int64
	tooLarge error
	// ranged is like large, for a piece with a Content-Range that got a 416.
	ranged int64
}

// note records the refusal of a form, or of a body of size bytes; -1 means any size.
func (m *manners) note(f form, err error, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch s := statusOf(err); {
	case s == http.StatusRequestEntityTooLarge && size >= 0 && !f.pieces():
		m.shrink(err, size)
	case f.patches() && (s == http.StatusMethodNotAllowed || s == http.StatusNotImplemented):
		m.patch = err
	default:
		m.refused[f] = err
		if f == streamed && size >= 0 && size <= m.most(0) { // that would be the same request
			m.refused[appended] = err
		}
	}
}

func (m *manners) shrink(err error, size int64) {
	if m.large == 0 || size < m.large {
		m.large, m.tooLarge = size, err
	}
}

// smaller records that a piece of size bytes was too large.
func (m *manners) smaller(err error, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if statusOf(err) == http.StatusRequestEntityTooLarge {
		m.shrink(err, size)
	} else if m.ranged == 0 || size < m.ranged {
		m.ranged = size
	}
}

// piece returns how many bytes to send at once: half of what was too large. A registry may
// demand least, a minimum.
func (m *manners) piece(least int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int(m.most(least))
}

func (m *manners) most(least int) int64 {
	n := int64(max(chunkSize, least))
	for _, refused := range []int64{m.large, m.ranged} {
		if refused > 0 {
			n = min(n, max(refused/2, 1))
		}
	}
	return n
}

// choose returns the first form, starting at from, in which a blob of size bytes (-1 if unknown)
// may be accepted. The error has everything that the registry said.
func (m *manners) choose(from form, size int64) (form, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var said []string
	var last error
	for f := range forms {
		how, err := m.why(f, size)
		if err == nil && f >= from {
			return f, nil
		}
		if text := fmt.Sprintf("; %s: %v", how, err); err != nil && !slices.Contains(said, text) {
			said, last = append(said, text), err
		}
	}
	return 0, &final{fmt.Errorf("the registry takes it in no form%s%w", strings.Join(said, ""), silent{last})}
}

// why returns what prevents sending a blob in a form, and how that was tried.
func (m *manners) why(f form, size int64) (how string, err error) {
	switch {
	case f.patches() && m.patch != nil:
		return "by PATCH", m.patch
	case !f.pieces() && m.large > 0 && (size < 0 && f == streamed || size >= m.large): // otherwise its size is found out first
		return "at once", m.tooLarge
	}
	return f.String(), m.refused[f]
}

// silent is an error that can be unwrapped, but whose text was given already.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// final is an error after which nothing else is tried.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }
