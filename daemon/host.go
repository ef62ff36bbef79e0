package daemon

import (
	"context"
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
)

// dialTimeout bounds how long a connection may take.
const dialTimeout = 10 * time.Second

// host is where a daemon listens.
type host struct {
	text             string // as it was given
	network, address string // as net.Dial takes it
}

// parseHost reads what DOCKER_HOST and CONTAINER_HOST have.
func parseHost(text string) (host, error) {
	u, err := url.Parse(text)
	if err != nil {
		return host{}, fmt.Errorf("engine at %q: not a URL such as unix:///run/docker.sock", text)
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || !filepath.IsAbs(u.Path) || u.RawQuery != "" || u.Fragment != "" {
			return host{}, fmt.Errorf("engine at %q: a socket is given as unix:// and an absolute path, as in unix:///run/docker.sock", text)
		}
		return host{text, "unix", u.Path}, nil
	case "tcp", "http":
		if u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
			return host{}, fmt.Errorf("engine at %q: expected tcp://HOST:PORT", text)
		}
		port := u.Port()
		if port == "" {
			port = "2375" // Docker's, without TLS
		}
		return host{text, "tcp", net.JoinHostPort(u.Hostname(), port)}, nil
	case "ssh":
		return host{}, fmt.Errorf("engine at %q: ssh is not supported: forward the socket (ssh -L /tmp/docker.sock:/run/docker.sock HOST) and give unix:///tmp/docker.sock", text)
	case "https":
		return host{}, errTLS(text)
	}
	return host{}, fmt.Errorf("engine at %q: expected unix:///PATH or tcp://HOST:PORT", text)
}

func errTLS(text string) error {
	return fmt.Errorf("engine at %q: TLS is not supported: use its socket, or forward it over ssh", text)
}

func (h host) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, h.network, h.address)
}

// client speaks HTTP to the host and to nothing else: no proxy, no redirect,
// no connection that outlives its request.
func (h host) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return h.dial(ctx) },
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxText,
			WriteBufferSize:        256 << 10,
			ReadBufferSize:         256 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// explain turns an error of dialing a daemon called product into one that
// says what to do; others stay as they are, without the made-up URL.
func (h host) explain(product string, err error) error {
	var asURL *url.Error
	if errors.As(err, &asURL) {
		err = asURL.Err
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	cause := op.Err
	var errno syscall.Errno
	if errors.As(cause, &errno) {
		cause = errno
	}
	hint := fmt.Sprintf("start %s, or say where it listens", product)
	if errors.Is(cause, fs.ErrPermission) {
		hint = fmt.Sprintf("become a member of the socket's group, or root, or use %s as this user", product)
	}
	return &MissingError{Err: fmt.Errorf("reach it at %q: %w", h.text, cause), Hint: hint}
}
