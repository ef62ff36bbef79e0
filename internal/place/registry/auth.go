package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// challenge is a way to log in that a registry offers (RFC 9110, 11.6.1).
type challenge struct {
	scheme     string // lower case
	parameters map[string]string
}

// pickChallenge returns the first of the challenges that this package supports.
func pickChallenge(headers []string) (challenge, bool) {
	for _, h := range headers {
		for _, ch := range parseChallenges(h) {
			if ch.scheme == "bearer" && ch.parameters["realm"] != "" || ch.scheme == "basic" {
				return ch, true
			}
		}
	}
	return challenge{}, false
}

// parseChallenges reads a WWW-Authenticate header: schemes, each with parameters
// or a token, all separated by commas. It stops at what it cannot read.
func parseChallenges(s string) []challenge {
	var all []challenge
	for s = skipSeparators(s); s != ""; s = skipSeparators(s) {
		word, rest := cutToken(s)
		if word == "" {
			return all
		}
		value, after, isParameter := cutValue(rest)
		switch {
		case isParameter && len(all) > 0:
			ch := all[len(all)-1]
			if key := strings.ToLower(word); ch.parameters[key] == "" {
				ch.parameters[key] = value
			}
			s = after
		case isParameter:
			return all
		default:
			all = append(all, challenge{strings.ToLower(word), map[string]string{}})
			s = rest
		}
	}
	return all
}

func skipSeparators(s string) string { return strings.TrimLeft(s, " \t,") }

// cutToken cuts off a token (RFC 9110, 5.6.2), or a token68 as if it were one.
func cutToken(s string) (token, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),:;<=>?@[\]{}`, r)
	})
	if i < 0 {
		i = len(s)
	}
	return s[:i], s[i:]
}

// cutValue cuts off "= value", where the value may be quoted.
func cutValue(s string) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, "=") {
		return "", s, false
	}
	s = strings.TrimLeft(s[1:], " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, strings.TrimLeft(rest, "="), true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// login answers a challenge that came in spite of the authorization old. Of
// several goroutines one does so, and the others use its result. Without
// credentials for a registry that wants them it returns no authorization.
func (c *client) login(ctx context.Context, ch challenge, old *authorization) (*authorization, error) {
	c.auth.Lock()
	defer c.auth.Unlock()
	if now := c.auth.current.Load(); now != old {
		return now, nil
	}
	if c.auth.found.Load() == nil {
		found, err := findCredentials(ctx, c.ref, c.opts)
		if err != nil {
			return nil, err
		}
		c.auth.found.Store(found)
		if found.from == "" {
			c.opts.debugf("registry %s: no login is known", c.ref.domain)
		} else {
			c.opts.debugf("registry %s: taking %s", c.ref.domain, found)
		}
	}
	cred := c.auth.found.Load()
	if err := c.guard(cred, c.base); err != nil {
		return nil, err
	}
	a, err := c.answer(ctx, ch, cred)
	if err != nil {
		return nil, err
	}
	c.auth.current.Store(a)
	return a, nil
}

// guard refuses to send credentials, or a token for them, where others can read
// them on the way.
func (c *client) guard(cred *found, to *url.URL) error {
	if cred.credentials == (credentials{}) || !c.policy.inClear(to) {
		return nil
	}
	return &DistrustError{to.Host, DistrustPlainLogin,
		refuse("refused to send %s to host %q in clear: it speaks http, and others may read it on its way", cred, to.Host)}
}

func (c *client) answer(ctx context.Context, ch challenge, cred *found) (*authorization, error) {
	a := &authorization{host: hostOf(c.base)}
	if ch.scheme == "basic" {
		if cred.username == "" {
			return nil, nil // some registries let anybody read all the same
		}
		a.value = cred.basic()
		return a, nil
	}
	if cred.registryToken != "" {
		a.value = "Bearer " + cred.registryToken
		return a, nil
	}
	token, err := c.token(ctx, ch, cred, c.scopes)
	var status *statusError
	if len(c.scopes) > 1 && errors.As(err, &status) {
		// It is somebody else's repository to mount from, which is optional.
		token, err = c.token(ctx, ch, cred, c.scopes[:1])
	}
	if errors.As(err, &status) && (status.status == http.StatusUnauthorized || status.status == http.StatusForbidden) {
		status.is = ErrLogin
		if hint := c.loginHint(); !strings.HasSuffix(err.Error(), hint) {
			err = fmt.Errorf("%w: %s", err, hint)
			if c.lacksLogin(http.StatusUnauthorized) {
				err = &LoginError{c.ref.domain, err}
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("log in to registry %s: %w", c.ref.host, err)
	}
	a.value = "Bearer " + token
	return a, nil
}

func (c credentials) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.username+":"+c.password))
}

// token gets a token (distribution, "Token Authentication Specification", and
// "OAuth2 Token Authentication" where there is an identity token). The registry
// chooses the realm: it has to be https unless the user allowed that host to be
// insecure, and the policy checks where it is.
func (c *client) token(ctx context.Context, ch challenge, cred *found, scopes []string) (string, error) {
	realm, err := url.Parse(ch.parameters["realm"])
	if err != nil || realm.Host == "" || realm.User != nil || realm.Opaque != "" {
		return "", fmt.Errorf("its token server %q is not an address", ch.parameters["realm"])
	}
	if realm.Scheme != "https" && !c.policy.isInsecure(hostOf(realm)) {
		return "", fmt.Errorf("its token server %q is refused: it does not use https", realm.Scheme+"://"+realm.Host)
	}
	if err := c.guard(cred, realm); err != nil {
		return "", err
	}
	values := realm.Query()
	if service := ch.parameters["service"]; service != "" {
		values.Set("service", service)
	}
	r := request{method: http.MethodGet, url: realm}
	var a *authorization
	switch {
	case cred.identityToken != "":
		values.Set("grant_type", "refresh_token")
		values.Set("client_id", "varve")
		values.Set("scope", strings.Join(scopes, " "))
		values.Set("refresh_token", cred.identityToken)
		r.method, r.body = http.MethodPost, bytesPayload([]byte(values.Encode()))
		r.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	default:
		values["scope"] = scopes
		realm.RawQuery = values.Encode()
		if cred.username != "" {
			a = &authorization{host: hostOf(realm), value: cred.basic()}
		}
	}
	return c.fetchToken(ctx, r, a)
}

// fetchToken sends the request for a token, with retries.
func (c *client) fetchToken(ctx context.Context, r request, a *authorization) (string, error) {
	for try := 0; ; try++ {
		token, err := c.tryToken(ctx, r, a)
		if err == nil || try >= c.opts.retries() || !c.transient(ctx, err) {
			return token, err
		}
		if err := c.opts.sleep(ctx, backoff(try, err)); err != nil {
			return "", err
		}
	}
}

func (c *client) tryToken(ctx context.Context, r request, a *authorization) (string, error) {
	resp, err := c.sendAs(ctx, r, a)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", c.statusError(r, resp)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenBody+1))
	if err != nil {
		return "", err
	}
	if len(body) > maxTokenBody {
		return "", fmt.Errorf("token server %q: its answer has more than %d bytes", r.url.Host, maxTokenBody)
	}
	// A JSON error would repeat parts of what may be secret.
	var doc struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return "", fmt.Errorf("token server %q: its answer is not JSON with a token", r.url.Host)
	}
	token := doc.Token
	if token == "" {
		token = doc.AccessToken
	}
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("token server %q: there is no token in its answer", r.url.Host)
	}
	return token, nil
}
