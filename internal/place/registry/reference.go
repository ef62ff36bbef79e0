package registry

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	distribution "github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/ocijson"
)

const (
	hubDomain = "docker.io"
	hubHost   = "registry-1.docker.io"
)

// reference is a repository of a registry, and a tag or a digest in it.
type reference struct {
	// domain is the registry's name, and host the host that answers: for Docker
	// Hub they differ.
	domain, host string
	repository   string
	tag          string
	// digest, where it is set, is used instead of the tag.
	digest digest.Digest
}

// parseReference reads [HOST/]NAME[:TAG][@DIGEST] as Docker does: the host
// defaults to Docker Hub, and without tag and digest the tag is latest.
func parseReference(s string) (reference, error) {
	named, err := distribution.ParseNormalizedNamed(s)
	if err != nil {
		return reference{}, fmt.Errorf("image reference %q: %w: write it as HOST/NAME:TAG or HOST/NAME@sha256:…", s, err)
	}
	if hostAlone(s, named) {
		return reference{}, fmt.Errorf("image reference %q: it has no name, only what looks like a registry: write it as HOST/NAME:TAG, or as %s for an image of Docker Hub", s, named)
	}
	named = distribution.TagNameOnly(named)
	ref := reference{domain: distribution.Domain(named), repository: distribution.Path(named)}
	if tagged, ok := named.(distribution.Tagged); ok {
		ref.tag = tagged.Tag()
	}
	if digested, ok := named.(distribution.Digested); ok {
		if ref.digest, err = ocijson.ParseDigest(digested.Digest().String()); err != nil {
			return reference{}, fmt.Errorf("image reference %q: %w", s, err)
		}
	}
	ref.host = ref.domain
	if ref.domain == hubDomain {
		ref.host = hubHost
	}
	if _, err := parseHost(ref.host); err != nil {
		return reference{}, fmt.Errorf("image reference %q: %w", s, err)
	}
	return ref, nil
}

// hostAlone reports whether a reference, which Docker would take for an image of
// Docker Hub, is a registry's host without an image: images there whose names
// have no slash are not named like that.
func hostAlone(s string, named distribution.Named) bool {
	name := distribution.FamiliarName(named)
	return !strings.Contains(s, "/") && (name == "localhost" || strings.Contains(name, "."))
}

// CheckReference returns what is wrong with a reference that the other functions
// would refuse, without asking a registry.
func CheckReference(s string) error {
	_, err := parseReference(s)
	return err
}

// name returns the repository's full name.
func (r reference) name() string { return r.domain + "/" + r.repository }

// target returns the tag or digest to request a manifest by.
func (r reference) target() string {
	if r.digest != "" {
		return r.digest.String()
	}
	return r.tag
}

func (r reference) String() string {
	s := r.name()
	if r.tag != "" {
		s += ":" + r.tag
	}
	if r.digest != "" {
		s += "@" + r.digest.String()
	}
	return s
}

// parseHost reads HOST or HOST:PORT. The result has no path, no user and no
// characters with another meaning in a URL.
func parseHost(s string) (host, error) {
	u, err := url.Parse("https://" + s)
	if err != nil || u.Host != s || u.Hostname() == "" {
		return host{}, fmt.Errorf("%q is not HOST or HOST:PORT", s)
	}
	return host{strings.ToLower(u.Hostname()), u.Port()}, nil
}

// host is a host name, lower case, and a port, which may be empty.
type host struct{ name, port string }

// hostOf returns a URL's host, with its port.
func hostOf(u *url.URL) host {
	h := host{strings.ToLower(u.Hostname()), u.Port()}
	if h.port == "" {
		h.port = defaultPort(u.Scheme)
	}
	return h
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

// covers reports whether h, perhaps without a port, names other.
func (h host) covers(other host) bool {
	return h.name == other.name && (h.port == "" || h.port == other.port)
}

func (h host) String() string {
	if h.port == "" {
		return h.name
	}
	return net.JoinHostPort(h.name, h.port)
}
