package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// maxRedirects limits how many redirects are followed one after the other.
const maxRedirects = 10

// maxCAFile limits a file of certificates, in bytes.
const maxCAFile = 16 << 20

// policyError says that a request was not sent because it should not be. The request is never
// tried again.
type policyError struct{ text string }

func (e *policyError) Error() string { return e.text }

func refuse(format string, args ...any) error {
	return &policyError{fmt.Sprintf(format, args...)}
}

// policy is the only way to the network. It decides for every request, redirected or not,
// whether to send it, whether it carries the Authorization of its context, and how carefully to
// connect.
type policy struct {
	registry      host // as the reference names it, perhaps without a port
	insecure      []host
	proxy         func(*http.Request) (*url.URL, error)
	userAgent     string
	strict, loose *http.Transport
}

func newPolicy(registry host, opts Options) (*policy, error) {
	p := &policy{registry: registry, proxy: opts.Proxy, userAgent: opts.UserAgent}
	if p.userAgent == "" {
		p.userAgent = "varve"
	}
	for _, s := range opts.InsecureHosts {
		h, err := parseHost(s)
		if err != nil {
			return nil, err
		}
		p.insecure = append(p.insecure, h)
	}
	var pool *x509.CertPool
	if opts.CAFile != "" {
		var err error
		if pool, err = loadCAs(opts.CAFile); err != nil {
			return nil, err
		}
	}
	p.strict = newTransport(opts, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	//nolint:gosec // for the hosts alone that the user has named
	p.loose = newTransport(opts, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	return p, nil
}

func loadCAs(path string) (*x509.CertPool, error) {
	data, err := readFile(path, maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read certificates: %q has none in PEM's form", path)
	}
	return pool, nil
}

func newTransport(opts Options, config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                 opts.Proxy,
		DialContext:           dial,
		TLSClientConfig:       config,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // digests are those of stored bytes
		TLSHandshakeTimeout:   opts.stall(),
		MaxIdleConnsPerHost:   uploads,
		IdleConnTimeout:       10 * time.Second, // an opened image has no Close
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

type contextKey int

const (
	authorizationKey contextKey = iota // *authorization
	guardedKey                         // bool: the user did not choose the host
)

// authorization is the header's value and the only host that may see it.
type authorization struct {
	host  host
	value string
}

// withAuthorization makes requests of the context to the host carry the value.
func withAuthorization(ctx context.Context, a *authorization) context.Context {
	return context.WithValue(ctx, authorizationKey, a)
}

func (p *policy) isInsecure(h host) bool {
	for _, known := range p.insecure {
		if known.covers(h) {
			return true
		}
	}
	return false
}

// isRegistry reports whether h is the registry, at the port that its name implies.
func (p *policy) isRegistry(h host, scheme string) bool {
	own := p.registry
	if own.port == "" {
		own.port = defaultPort(scheme)
	}
	return own == h
}

// RoundTrip sends one request.
func (p *policy) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := p.check(req); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	h := hostOf(req.URL)
	out := req.Clone(req.Context())
	out.Header.Del("Authorization")
	out.Header.Del("Referer") // addresses of redirects may be secret
	out.Header.Set("User-Agent", p.userAgent)
	if a, _ := req.Context().Value(authorizationKey).(*authorization); a != nil && a.host == h && !leftHost(req) {
		out.Header.Set("Authorization", a.value)
	}
	transport := p.strict
	if p.isInsecure(h) {
		transport = p.loose
	} else if !p.isRegistry(h, req.URL.Scheme) && !p.proxied(req) {
		out = out.WithContext(context.WithValue(out.Context(), guardedKey, true))
	}
	return transport.RoundTrip(out)
}

// check refuses what must not be sent.
func (p *policy) check(req *http.Request) error {
	h := hostOf(req.URL)
	switch {
	case req.URL.Scheme == "https":
	case req.URL.Scheme != "http":
		return refuse("refused to go to %q on another host: only https is used", req.URL.Scheme+"://"+req.URL.Host)
	case req.Response != nil && req.Response.Request != nil && req.Response.Request.URL.Scheme == "https":
		return refuse("refused a redirect from https to http on host %q", h)
	case !p.isInsecure(h):
		return &DistrustError{h.String(), DistrustHTTP, refuse("refused to speak http to host %q", h)}
	}
	if p.isInsecure(h) || p.isRegistry(h, req.URL.Scheme) {
		return nil
	}
	if addr, err := netip.ParseAddr(h.name); err == nil {
		if err := checkAddress(addr); err != nil {
			return &DistrustError{h.String(), DistrustAddress, refuse("refused to go on to host %q: %v", h, err)}
		}
	}
	return nil
}

func (p *policy) proxied(req *http.Request) bool {
	if p.proxy == nil {
		return false
	}
	u, err := p.proxy(req)
	return err == nil && u != nil
}

// inClear reports whether machines other than this one may read what goes to an address.
func (p *policy) inClear(u *url.URL) bool {
	if u.Scheme == "https" {
		return false
	}
	name := hostOf(u).name
	addr, err := netip.ParseAddr(name)
	here := err == nil && addr.Unmap().IsLoopback() || name == "localhost" // RFC 6761, 6.3
	return !here || p.proxied(&http.Request{Method: http.MethodGet, URL: u})
}

// leftHost reports whether one of the redirects that led to req was on another host than req's.
func leftHost(req *http.Request) bool {
	for r := req.Response; r != nil && r.Request != nil; r = r.Request.Response {
		if hostOf(r.Request.URL) != hostOf(req.URL) {
			return true
		}
	}
	return false
}

// checkRedirect is http.Client's CheckRedirect. RoundTrip does the rest.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if method := via[0].Method; method != http.MethodGet && method != http.MethodHead {
		return refuse("refused to follow a redirect of a %s to host %q", method, req.URL.Host)
	}
	if len(via) > maxRedirects {
		return refuse("stopped after %d redirects, the last to host %q", maxRedirects, req.URL.Host)
	}
	return nil
}

// dial connects. If the registry chose the host, addresses are checked once names are resolved.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	if guarded, _ := ctx.Value(guardedKey).(bool); guarded {
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return err
			}
			if err := checkAddress(to.Addr()); err != nil {
				return refuse("refused to go on to host %q: %v", address, err)
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

func (p *policy) closeIdle() {
	p.strict.CloseIdleConnections()
	p.loose.CloseIdleConnections()
}

// isPolicy reports whether err comes from a policyError.
func isPolicy(err error) bool {
	var refused *policyError
	return errors.As(err, &refused)
}
