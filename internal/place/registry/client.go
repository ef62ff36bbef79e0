package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// client talks to one repository of a registry. Its methods may be called by several goroutines.
type client struct {
	ref    reference
	opts   Options
	policy *policy
	http   *http.Client
	// scopes lists what a token has to allow.
	scopes []string
	// base is the registry's scheme and host.
	base *url.URL
	// reached says that the registry has answered: from then on a refused connection is a
	// transient fault.
	reached atomic.Bool
	// unasked says that the registry does not support being asked before it gets a large body.
	unasked atomic.Bool
	// uploads records which uploads the registry has refused so far.
	uploads manners

	auth struct {
		sync.Mutex
		found   atomic.Pointer[found] // nil until credentials were looked for
		current atomic.Pointer[authorization]
	}
}

// newClient finds out how to talk to the registry and logs in. actions are the actions on the
// repository, mounts other repositories to read.
func newClient(ctx context.Context, ref reference, opts Options, actions string, mounts []string) (*client, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	h, err := parseHost(ref.host)
	if err != nil {
		return nil, err
	}
	c := &client{ref: ref, opts: opts, base: &url.URL{Scheme: "https", Host: ref.host}}
	if c.policy, err = newPolicy(h, opts); err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: c.policy, CheckRedirect: checkRedirect}
	c.scopes = []string{"repository:" + ref.repository + ":" + actions}
	for _, m := range mounts {
		c.scopes = append(c.scopes, "repository:"+m+":pull")
	}
	if err := c.ping(ctx); err != nil {
		c.policy.closeIdle()
		return nil, err
	}
	opts.debugf("registry %s answers in %s", ref.host, c.base.Scheme)
	return c, nil
}

// ping asks the registry whether it wants a login (distribution-spec, "Determining
// Support"). A registry that may be insecure is asked in https first.
func (c *client) ping(ctx context.Context) error {
	err := c.pingAs(ctx, "https")
	plain := &url.URL{Scheme: "http", Host: c.base.Host}
	if err != nil && ctx.Err() == nil && speaksHTTP(err) && c.policy.isInsecure(hostOf(plain)) {
		err = c.pingAs(ctx, "http")
	}
	return err
}

func (c *client) pingAs(ctx context.Context, scheme string) error {
	c.base.Scheme = scheme
	resp, err := c.do(ctx, request{method: http.MethodGet, url: c.url("")}, http.StatusOK, http.StatusUnauthorized)
	if err != nil {
		return err
	}
	discard(resp)
	return nil
}

// speaksHTTP reports whether an attempt in https failed as it does where there is only http.
func speaksHTTP(err error) bool {
	var record tls.RecordHeaderError
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &record) || errors.Is(err, syscall.ECONNREFUSED)
}

// url returns an address below the registry's /v2/.
func (c *client) url(path string) *url.URL {
	u := *c.base
	u.Path = "/v2/" + path
	return &u
}

// repositoryURL returns an address below the repository's.
func (c *client) repositoryURL(path string) *url.URL { return c.url(c.ref.repository + "/" + path) }

// request is a request that can be sent any number of times.
type request struct {
	method string
	url    *url.URL
	header http.Header
	body   *payload
	// patience, where it is set, is how long the answer may take, instead of the stall time-out.
	patience time.Duration
}

// do sends a request until the answer has one of the statuses, which the caller has to close. It
// tries again after transient faults.
func (c *client) do(ctx context.Context, r request, statuses ...int) (*http.Response, error) {
	for try := 0; ; try++ {
		resp, err := c.expect(ctx, r, statuses...)
		if err == nil {
			return resp, nil
		}
		if try >= c.opts.retries() || !c.transient(ctx, err) {
			return nil, err
		}
		if err := c.opts.sleep(ctx, backoff(try, err)); err != nil {
			return nil, err
		}
	}
}

// expect sends a request once and returns an error for any other status than these.
func (c *client) expect(ctx context.Context, r request, statuses ...int) (*http.Response, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	if slices.Contains(statuses, resp.StatusCode) {
		return resp, nil
	}
	return nil, c.statusError(r, resp)
}

// send sends a request once, or twice if it needs a login.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	a := c.auth.current.Load()
	resp, err := c.sendAs(ctx, r, a)
	if err == nil && resp.StatusCode == http.StatusExpectationFailed && resp.Request.Header.Get("Expect") != "" {
		discard(resp)
		resp, err = c.sendAs(ctx, r, a)
	}
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !c.own(resp.Request.URL) {
		return resp, err
	}
	challenge, ok := pickChallenge(resp.Header.Values("WWW-Authenticate"))
	if !ok {
		return resp, nil
	}
	if a, err = c.login(ctx, challenge, a); err != nil || a == nil {
		if err != nil {
			resp.Body.Close()
		}
		return resp, err
	}
	discard(resp)
	return c.sendAs(ctx, r, a)
}

// own reports whether an address is the registry's.
func (c *client) own(u *url.URL) bool {
	return hostOf(u) == hostOf(c.base) && u.Scheme == c.base.Scheme
}

// asksFirst reports whether the registry is asked before it gets a request's body.
func (c *client) asksFirst(r request) bool {
	return r.body != nil && (r.body.size < 0 || r.body.size > expectSize) && !c.unasked.Load()
}

// sendAs sends a request once. A network that is silent for too long ends it,
// and later the reading of the answer's body.
func (c *client) sendAs(ctx context.Context, r request, a *authorization) (*http.Response, error) {
	if a != nil {
		ctx = withAuthorization(ctx, a)
	}
	dog := newWatchdog(ctx, c.opts, r.patience)
	out := &outgoing{dog: dog, body: r.body}
	defer out.end()
	req, err := http.NewRequestWithContext(dog.ctx, r.method, r.url.String(), http.NoBody)
	if err != nil {
		dog.stop()
		return nil, err
	}
	for key, values := range r.header {
		req.Header[key] = values
	}
	asked := c.asksFirst(r)
	if asked {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.http.Do(out.attach(req))
	if err != nil {
		err = c.requestError(r, err, context.Cause(dog.ctx))
		dog.stop()
		return nil, err
	}
	out.end()
	if asked && (resp.StatusCode == http.StatusExpectationFailed || resp.StatusCode < 300 && !out.continued.Load()) {
		c.unasked.Store(true) // it does not understand the question, or does not answer it
	}
	c.reached.Store(true)
	dog.rest()
	resp.Body = &watchedBody{resp.Body, dog, newPace(c.opts), c, r}
	return resp, nil
}

// discard ends an answer whose body is not needed. It reads the body so that the connection can
// be used again; if that fails, another one will be.
func discard(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
}
