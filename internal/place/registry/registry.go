// Package registry reads images from registries and writes them there, by the
// OCI distribution specification 1.1 and Docker's registry HTTP API V2.
//
// Guarantees:
//
//   - What is read is checked: manifests, indexes and configs are strict JSON
//     of at most 8 MiB, compared with the digest that was asked for and with
//     the one that the registry states; no layer ends without an error if its
//     size or digest is not what its descriptor says.
//   - A host is spoken to in clear text, or without its certificate being
//     verified, only if Options.InsecureHosts names it. There is no way from
//     https back to http.
//   - Credentials go to the registry that they are for, and to the token server
//     that it names, over https. They are not sent to where either redirects
//     to, nor to another host that is to take an upload, and are in no error. In
//     http they go to a loopback address alone, whatever Options.InsecureHosts says.
//   - A host that the registry chose and the user did not name (a token server,
//     a redirect, an upload's location) is never one that the machine reaches by
//     a loopback or link-local address.
//   - An upload takes the form that the registry takes, Docker's first, and sends
//     nothing again that was refused. Transfers go on where they broke off. Retries, waits and answers are
//     bounded; a transfer without progress, or with next to none, is broken off; when the context is
//     done everything ends at once.
//   - Memory is bounded by a few chunks of uploads; nothing is written to disk.
//   - urls of a descriptor are never fetched.
//
// Non-goals: Docker's schema 1, client certificates, deleting, search.
//
// It is written on net/http: docs/design.md says which libraries were tried
// under it, and what each would have taken away.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/layer"
)

// Options says how a registry is spoken to. The zero value is anonymous,
// https, verified by the machine's authorities, without a proxy.
type Options struct {
	// Platform is what Open chooses from an index. Where it is empty an index
	// has to have one image only. An empty Variant accepts any, if only one
	// image has the rest.
	Platform v1.Platform
	// Username and Password log in. AuthFiles are asked where Username is
	// empty: paths of Docker's config.json or Podman's auth.json, of which the
	// first that knows the registry wins. One that does not exist is skipped.
	// LoginFrom says in errors where Username is from, such as a flag's name.
	Username, Password string
	LoginFrom          string
	AuthFiles          []string
	// InsecureHosts, each HOST or HOST:PORT, may be spoken to in http, and in
	// https with any certificate. Without a port every port is meant. What logs in
	// is not sent in http over a network all the same.
	InsecureHosts []string
	// CAFile holds certificates, as PEM, of authorities that are trusted beside
	// the machine's.
	CAFile string
	// Proxy returns the proxy for a request, as in http.Transport.
	Proxy func(*http.Request) (*url.URL, error)
	// UserAgent is how the program introduces itself; empty is "varve".
	UserAgent string
	// Retries is how often a request or transfer is tried again without having
	// made progress; 0 is 5, negative is never.
	Retries int
	// StallTimeout is how long the network may be silent; 0 is 30 seconds.
	StallTimeout time.Duration
	// MinRate is how many bytes a second a transfer has to have, of the time that
	// the network takes and on average over twice the StallTimeout; 0 is 4096.
	MinRate int
	// Sleep waits between tries, or returns the context's error; nil is a
	// timer. Tests replace it.
	Sleep func(context.Context, time.Duration) error
	// Observe, where it is set, is told of each layer that is pushed, from one
	// goroutine at a time. Of a layer that is passed on as it is stored the size
	// is the stored one.
	Observe func(image.Event)
	// Debug, where it is set, is told how registries are reached and who logs in, never
	// with what, and which blobs are sent. Several goroutines may call it.
	Debug func(text string)
}

func (o Options) debugf(format string, args ...any) {
	if o.Debug != nil {
		o.Debug(fmt.Sprintf(format, args...))
	}
}

// PushOptions says how an image is written to a registry.
type PushOptions struct {
	Options
	// Compression is how layers are compressed that are not passed on as they
	// are stored.
	Compression compress.Compression
	// Recompress has stored layers compressed anew too.
	Recompress bool
	// Untagged has the manifest get no tag, for an index to list: the tag of the
	// reference is then for the index.
	Untagged bool
	// MountFrom are repositories of the same registry, without its name, that
	// may have layers of the image already, besides those that the image's
	// layers were opened from: the registry then takes them from there.
	MountFrom []string
	// Budget, where it is set, makes what the layers of each image may come to, for Copy.
	Budget func() *layer.Budget
	// Warn, where it is set, is told by Copy of what is odd, and copied all the same.
	Warn func(error)
}

const (
	defaultRetries = 5
	defaultStall   = 30 * time.Second
	defaultMinRate = 4 << 10
	// commitFactor times the stall time-out is how long a registry may take to
	// check an upload.
	commitFactor = 10
	// maxWait bounds one wait between tries, whatever the registry asks for.
	maxWait = time.Minute
	// maxErrorBody bounds what is read of an answer that is an error, and
	// maxTokenBody of a token server's, in bytes.
	maxErrorBody = 64 << 10
	maxTokenBody = 1 << 20
)

func (o Options) check() error {
	if o.Password != "" && o.Username == "" {
		return errors.New("a password was given without a user name")
	}
	for _, host := range o.InsecureHosts {
		if _, err := parseHost(host); err != nil {
			return fmt.Errorf("insecure host: %w", err)
		}
	}
	return nil
}

func (o Options) retries() int {
	switch {
	case o.Retries < 0:
		return 0
	case o.Retries == 0:
		return defaultRetries
	}
	return o.Retries
}

func (o Options) stall() time.Duration {
	if o.StallTimeout <= 0 {
		return defaultStall
	}
	return o.StallTimeout
}

func (o Options) minRate() int64 {
	if o.MinRate <= 0 {
		return defaultMinRate
	}
	return int64(o.MinRate)
}

// sleep waits for d, or until ctx is done.
func (o Options) sleep(ctx context.Context, d time.Duration) error {
	if o.Sleep != nil {
		return o.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
