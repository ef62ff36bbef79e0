package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/varve-image/varve/image"
)

// maxMessage limits how much of a registry's message an error repeats, in bytes.
const maxMessage = 300

// uploadsPath is part of the address of each upload to the registry itself.
const uploadsPath = "/blobs/uploads/"

// statusError is an answer with an unexpected status.
type statusError struct {
	text   string
	status int
	// wait is how long the registry asked us to wait; 0 if it did not.
	wait time.Duration
	// is says what kind of error this is to others: ErrLogin, image.ErrNotFound or nil.
	is error
}

func (e *statusError) Error() string { return e.text }

// Is reports whether target is the kind of the error.
func (e *statusError) Is(target error) bool { return e.is != nil && target == e.is }

// ErrLogin says that a registry, or its token server, refused a request without a login, or with
// the login that was given.
var ErrLogin = errors.New("the registry refused the login, or wants one")

// NotFoundError is the error of a manifest, or a repository, that a registry says it does not
// have.
type NotFoundError struct{ Err error }

func (e *NotFoundError) Error() string { return e.Err.Error() }

func (e *NotFoundError) Unwrap() error { return e.Err }

// LoginError is the error of a request that a registry refuses without a login, where Options
// has no login for it.
type LoginError struct {
	// Registry is the registry to log in to.
	Registry string
	Err      error
}

func (e *LoginError) Error() string { return e.Err.Error() }

func (e *LoginError) Unwrap() error { return e.Err }

// DistrustError is the error of a host that was not contacted, because others could have read
// the exchange. Listing Host in Options.InsecureHosts overrides every Reason but
// DistrustPlainLogin.
type DistrustError struct {
	Host   string
	Reason Distrust
	Err    error
}

func (e *DistrustError) Error() string { return e.Err.Error() }

func (e *DistrustError) Unwrap() error { return e.Err }

// Distrust is the reason why a host is not trusted.
type Distrust int

// The reasons.
const (
	// DistrustHTTP: the address is without https. DistrustAnswer: the host's answer is not TLS.
	DistrustHTTP Distrust = iota + 1
	DistrustAnswer
	// DistrustCertificate: no known authority signed the certificate, or it is another host's.
	// Options.CAFile can name the authority.
	DistrustCertificate
	// DistrustAddress: the registry led to a host in a network that is not public.
	DistrustAddress
	// DistrustPlainLogin: a login would be sent without https.
	DistrustPlainLogin
)

// statusError returns the error that an answer describes, and closes it.
func (c *client) statusError(r request, resp *http.Response) error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what was read is enough
	text := fmt.Sprintf("%s: status %d %s", c.describe(r), resp.StatusCode, http.StatusText(resp.StatusCode))
	if !c.own(resp.Request.URL) && resp.Request.URL.Host != r.url.Host {
		text += fmt.Sprintf(" of host %q, to which the registry redirected", resp.Request.URL.Host)
	}
	if words := messages(resp.Header.Get("Content-Type"), body); words != "" {
		text += ": " + words
	}
	err := &statusError{text + c.hint(resp), resp.StatusCode, retryAfter(resp.Header), c.kind(r, resp)}
	if c.own(resp.Request.URL) && c.lacksLogin(resp.StatusCode) {
		return &LoginError{c.ref.domain, err}
	}
	return err
}

// kind returns what an answer's error is to others. What another host says, to which the registry
// leads, is about the address there and not about the login.
func (c *client) kind(r request, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		if c.own(resp.Request.URL) {
			return ErrLogin
		}
	case http.StatusNotFound:
		if c.own(r.url) && !strings.Contains(r.url.Path, uploadsPath) {
			return image.ErrNotFound
		}
	}
	return nil
}

// describe names a request without what may be secret in its address.
func (c *client) describe(r request) string {
	if !c.own(r.url) {
		return fmt.Sprintf("%s at host %q", r.method, r.url.Host)
	}
	path := strings.TrimPrefix(r.url.Path, "/v2/")
	if path == "" {
		path = "/v2/"
	}
	if before, _, ok := strings.Cut(path, uploadsPath); ok {
		path = before + uploadsPath // the rest identifies the upload, and is long
	}
	return fmt.Sprintf("%s %q at registry %s", r.method, path, c.ref.host)
}

// loginHint returns what to do about a login that was refused, or is missing.
func (c *client) loginHint() string {
	cred := c.auth.found.Load()
	switch {
	case cred == nil:
		return "it offers no way to log in that is known here: Basic or Bearer"
	case cred.from != "":
		return fmt.Sprintf("%s is refused: is the password right, and still valid?", cred)
	}
	return "there is no login for it"
}

// lacksLogin reports whether a login may help where an answer has this status.
func (c *client) lacksLogin(status int) bool {
	cred := c.auth.found.Load()
	return status == http.StatusUnauthorized && cred != nil && cred.from == "" ||
		status == http.StatusForbidden && (cred == nil || cred.from == "")
}

// hint returns what to do about a status.
func (c *client) hint(resp *http.Response) string {
	if !c.own(resp.Request.URL) {
		return ""
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return ": " + c.loginHint()
	case http.StatusRequestEntityTooLarge:
		return ": it is the limit of the registry, or of a proxy before it"
	case http.StatusForbidden:
		if cred := c.auth.found.Load(); cred != nil && cred.from != "" {
			return fmt.Sprintf(": %s does not allow this in repository %q", cred, c.ref.repository)
		}
		return fmt.Sprintf(": without a login this is not allowed in repository %q", c.ref.repository)
	case http.StatusNotFound:
		if strings.Contains(resp.Request.URL.Path, uploadsPath) {
			return "" // the repository was found when the upload began
		}
		return fmt.Sprintf(": check the name %q; a private repository may need a login", c.ref)
	}
	return ""
}

// messages returns a registry's errors (distribution-spec, "Error Codes").
func messages(contentType string, body []byte) string {
	var doc struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &doc) != nil || len(doc.Errors) == 0 {
		text := strings.TrimSpace(string(body))
		if text == "" || isHTML(contentType) {
			return ""
		}
		return quote(text)
	}
	var all []string
	for _, e := range doc.Errors {
		all = append(all, strings.TrimSpace(e.Code+" "+e.Message))
	}
	return quote(strings.Join(all, "; "))
}

func quote(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage]
		for len(s) > 0 && !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return strconv.Quote(s)
}

func isHTML(contentType string) bool {
	return strings.HasPrefix(strings.ToLower(contentType), "text/html")
}

// retryAfter reads the header Retry-After: seconds, or a time, which is compared with the
// registry's clock.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), int(maxWait.Seconds()))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxWait)
}

// backoff returns how long to wait before try number try+2.
func backoff(try int, err error) time.Duration {
	d := 250 * time.Millisecond << min(try, 6)
	d = d/2 + rand.N(d)
	var status *statusError
	if errors.As(err, &status) {
		d = max(d, status.wait)
	}
	return min(d, maxWait)
}

// connectionError is the error of a request that got no answer, or not all of one.
type connectionError struct {
	text  string
	cause error
}

func (e *connectionError) Error() string { return e.text }
func (e *connectionError) Unwrap() error { return e.cause }

// requestError adds to an error what the failed request was for. The address that net/http puts
// into its errors may be signed, and is left out.
func (c *client) requestError(r request, err, cause error) error {
	var inURL *url.Error
	for errors.As(err, &inURL) {
		err = inURL.Err
		inURL = nil
	}
	if isPolicy(err) {
		return fmt.Errorf("%s: %w", c.describe(r), err)
	}
	if cause != nil { // the watchdog's, or the caller's
		err = cause
	}
	return c.distrust(&connectionError{fmt.Sprintf("%s: %v", c.describe(r), err), err})
}

// distrust makes a DistrustError of the error of a connection that was not trusted.
func (c *client) distrust(err *connectionError) error {
	var certificate *tls.CertificateVerificationError
	insecure := c.policy.isInsecure(hostOf(c.base))
	switch {
	case errors.As(err, &certificate):
		return &DistrustError{c.base.Host, DistrustCertificate, err}
	case speaksHTTP(err) && !errors.Is(err, syscall.ECONNREFUSED) && !insecure:
		return &DistrustError{c.base.Host, DistrustAnswer, err}
	}
	return err
}

// transient reports whether a fault may be gone the next time.
func (c *client) transient(ctx context.Context, err error) bool {
	if ctx.Err() != nil || isPolicy(err) {
		return false
	}
	var status *statusError
	if errors.As(err, &status) {
		switch status.status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var conn *connectionError
	if !errors.As(err, &conn) {
		return false
	}
	var certificate *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.As(err, &certificate):
		return false
	case errors.As(err, &dns) && dns.IsNotFound, speaksHTTP(err):
		return c.reached.Load()
	}
	return true
}
