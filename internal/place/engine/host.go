package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/varve-image/varve/internal/lack"
)

// dialTimeout limits how long connecting may take.
const dialTimeout = 10 * time.Second

// host is where a daemon listens.
type host struct {
	text             string // as it was given
	context          string // the Docker context that it is from
	network, address string // for net.Dial
	// tls, where it is set, is the TLS configuration of a tcp host, and ssh the way to an engine
	// on another machine.
	tls *tls.Config
	ssh *sshTarget
}

// parseHost reads the hosts of DOCKER_HOST, CONTAINER_HOST and contexts. The endpoint says
// whether to use TLS, unless it is an https:// host.
func parseHost(e endpoint) (host, error) {
	text := e.host
	h := host{text: text, context: e.context}
	u, err := url.Parse(text)
	if err != nil {
		return h, fmt.Errorf("engine at %q: not a URL such as unix:///run/docker.sock", text)
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || !filepath.IsAbs(u.Path) || u.RawQuery != "" || u.Fragment != "" {
			return h, fmt.Errorf("engine at %q: a socket is given as unix:// and an absolute path, as in unix:///run/docker.sock", text)
		}
		h.network, h.address = "unix", u.Path
		return h, nil
	case "tcp", "http", "https":
		if u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
			return h, fmt.Errorf("engine at %q: expected tcp://HOST:PORT", text)
		}
		if u.Scheme == "https" && !e.tls {
			e.tls, e.verify = true, true
		}
		port := u.Port()
		if port == "" {
			port = map[bool]string{false: "2375", true: "2376"}[e.tls] // Docker's
		}
		h.network, h.address = "tcp", net.JoinHostPort(u.Hostname(), port)
		if e.tls {
			h.tls, err = e.tlsConfig(u.Hostname())
		}
		return h, err
	case "ssh":
		h.network, h.address = "ssh", u.Host
		h.ssh, err = parseSSH(text, u)
		return h, err
	}
	return h, fmt.Errorf("engine at %q: expected unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST", text)
}

func (h host) String() string {
	if h.context != "" {
		return fmt.Sprintf("%q, of context %q", h.text, h.context)
	}
	return fmt.Sprintf("%q", h.text)
}

func (h host) dial(ctx context.Context) (net.Conn, error) {
	if h.ssh != nil {
		return h.ssh.dial(ctx)
	}
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, h.network, h.address)
	if err != nil || h.tls == nil {
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secure := tls.Client(conn, h.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &tlsError{err}
	}
	return secure, nil
}

// tlsError is the error of a failed handshake.
type tlsError struct{ error }

func (e *tlsError) Unwrap() error { return e.error }

// client returns an HTTP client for the host and nothing else: no proxy, no redirects. No
// connection outlives its request, unless the client is to keep one.
func (h host) client(keep bool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return h.dial(ctx) },
			DisableKeepAlives:      !keep,
			MaxIdleConns:           1,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxText,
			WriteBufferSize:        256 << 10,
			ReadBufferSize:         256 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// explain turns an error of dialing a daemon called product into one that says what to do. It
// leaves other errors, but removes the made-up URL.
func (h host) explain(product string, err error) error {
	var asURL *url.Error
	if errors.As(err, &asURL) {
		err = asURL.Err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	elsewhere := map[string]string{
		"Docker": "DOCKER_HOST or DOCKER_CONTEXT", "Podman": "CONTAINER_HOST or CONTAINER_CONNECTION", "containerd": "CONTAINERD_ADDRESS",
	}[product]
	if exit, ok := sshFailed(err); ok {
		hint := fmt.Sprintf("try %q, or say where %s is by %s", strings.Join(append([]string{"ssh"}, h.ssh.args()...), " "), product, elsewhere)
		return &lack.Error{Err: fmt.Errorf("reach it at %q: %w", h.text, exit), Hints: []string{hint}}
	}
	var secure *tlsError
	if errors.As(err, &secure) {
		hint := "its certificate has to be one that ca.pem in DOCKER_CERT_PATH, or in Docker's context, vouches for, and yours are cert.pem and key.pem there"
		return &lack.Error{Err: fmt.Errorf("reach it at %q in TLS: %w", h.text, secure.error), Hints: []string{hint}}
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		return err
	}
	cause := op.Err
	var errno syscall.Errno
	if errors.As(cause, &errno) {
		cause = errno
	}
	hint := fmt.Sprintf("start %s, or say where it listens by %s", product, elsewhere)
	if errors.Is(cause, fs.ErrPermission) {
		hint = fmt.Sprintf("become a member of the socket's group, or root, or use %s as this user, or another one by %s", product, elsewhere)
	}
	return &lack.Error{Err: fmt.Errorf("reach it at %q: %w", h.text, cause), Hints: []string{hint}}
}
